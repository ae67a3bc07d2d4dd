"""Who is whose child, and who is in which session: from ``/proc/PID/stat`` (proc(5))."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["children_of", "members_of_session"]

_STATE, _PARENT, _SESSION = 0, 1, 3
"""Places of fields, counted after the second one."""


def children_of(parent: int) -> list[int]:
    """The processes whose parent is ``parent``, zombies included."""
    return [pid for pid, fields in _processes() if fields[_PARENT] == str(parent)]


def members_of_session(session: int) -> list[int]:
    """The processes of a session that are not zombies."""
    return [
        pid
        for pid, fields in _processes()
        if fields[_SESSION] == str(session) and fields[_STATE] != "Z"
    ]


def _processes() -> Iterator[tuple[int, list[str]]]:
    """All processes with their fields after the program's name.

    The name is in parentheses and may hold anything, parentheses and spaces included.
    """
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            text = status.read_text(errors="replace")
            yield int(status.parent.name), text.rpartition(")")[2].split()
