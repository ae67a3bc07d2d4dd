"""Who is whose child, who is in which session, and who uses how much: from ``/proc`` (proc(5))."""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["children_of", "descendants_of", "members_of_session", "resident_memory"]

_STATE, _PARENT, _SESSION = 0, 1, 3
"""Places of fields, counted after the second one."""


def children_of(parent: int) -> list[int]:
    """The processes whose parent is ``parent``, zombies included."""
    return [pid for pid, fields in _processes() if fields[_PARENT] == str(parent)]


def descendants_of(ancestor: int) -> list[int]:
    """The processes below ``ancestor``, zombies included; those nearest to it first.

    Where the kernel lists children (``CONFIG_PROC_CHILDREN``), the cost is that of the
    descendants, else that of all processes.
    """
    if Path(f"/proc/{ancestor}/task/{ancestor}/children").exists():
        return _below(ancestor, _listed_children)
    by_parent = defaultdict[int, list[int]](list)
    for pid, fields in _processes():
        by_parent[int(fields[_PARENT])].append(pid)
    return _below(ancestor, lambda pid: by_parent.get(pid, ()))


def _below(ancestor: int, children: Callable[[int], Iterable[int]]) -> list[int]:
    found = dict.fromkeys(children(ancestor))
    pending = list(found)
    while pending:
        new = [pid for pid in children(pending.pop()) if pid not in found]
        found.update(dict.fromkeys(new))
        pending += new
    return list(found)


def _listed_children(parent: int) -> Iterator[int]:
    for thread in Path(f"/proc/{parent}/task").glob("[0-9]*/children"):
        with suppress(OSError):  # it has ended meanwhile
            yield from map(int, thread.read_text().split())


def resident_memory(pids: Iterable[int]) -> int:
    """Bytes of physical memory that these processes use; shared pages count for each."""
    pages = 0
    for pid in pids:
        with suppress(OSError, IndexError):  # it has ended meanwhile
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


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
