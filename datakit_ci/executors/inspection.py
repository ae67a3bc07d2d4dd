"""Looking through what a build has made, before it is stored: no secrets, and not too much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datakit_ci.redaction import Redaction

__all__ = ["inspect"]

_PIECE = 1 << 20


def inspect(directories: list[Path], redaction: Redaction, limit: int) -> str | None:
    """Why what is in ``directories`` cannot be a result; none if it can.

    A secret in it is not cut out: that would corrupt an artefact, and Git cannot forget. What has
    been compressed or encrypted cannot be looked into.

    Args:
        directories: With the files that a build leaves; those that are not there are left out.
        redaction: The secrets to look for.
        limit: How many bytes all files may have together.
    """
    size = 0
    for directory in directories:
        for path in _files(directory):
            size += path.lstat().st_size
            if size > limit:
                return f"its outputs and reports have more than the {limit} bytes that it may make"
            shown = path.relative_to(directory)
            if secret := _secret_in(path, os.fsencode(shown), redaction):
                return f"the secret {secret} is in {shown}; nothing of it was stored"
    return None


def _files(directory: Path) -> Iterator[Path]:
    """All that is not a directory, and empty directories too: their names may say something."""
    for parent, names, files in os.walk(directory):
        for name in files:
            yield Path(parent, name)
        for name in names:
            path = Path(parent, name)
            if path.is_symlink() or not any(path.iterdir()):
                yield path


def _secret_in(path: Path, name: bytes, redaction: Redaction) -> str | None:
    if not redaction:
        return None
    if found := redaction.named_in(name):
        return found
    if path.is_symlink():
        return redaction.named_in(os.fsencode(path.readlink()))
    if not path.is_file():
        return None
    before = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if found := redaction.named_in(before + piece):
                return found
            before = (before + piece)[-redaction.reach :]
    return None
