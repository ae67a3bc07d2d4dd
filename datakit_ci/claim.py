"""Directories that one process works in, and nobody else."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datakit_core.errors import ConfigError

__all__ = ["claimed"]


@contextmanager
def claimed(directory: Path, remedy: str) -> Iterator[None]:
    """Keep others out of ``directory``, which is made if it is missing.

    The claim ends with the process, whatever ends it (flock(2)).

    Args:
        directory: Which.
        remedy: What to do if somebody else has it, for people.

    Raises:
        ConfigError: Somebody else has it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process works in {directory}; {remedy}") from None
        yield
