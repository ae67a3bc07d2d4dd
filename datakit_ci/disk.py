"""Writing what is in a tree to a disk."""

from __future__ import annotations

import os
from pathlib import Path

from datakit_core.client.api import FileMode

__all__ = ["write_file"]


def write_file(path: Path, mode: FileMode, data: bytes) -> None:
    """Create a file or link that is not there yet; an existing link is not followed.

    Raises:
        FileExistsError: Something is there.
    """
    if mode is FileMode.LINK:
        path.symlink_to(os.fsdecode(data))
        return
    with path.open("xb") as file:
        file.write(data)
    if mode is FileMode.EXECUTABLE:
        path.chmod(0o755)
