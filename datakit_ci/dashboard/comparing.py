"""What differs between two results: facts, trees, files and logs; bounded, whatever they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from datakit_ci.archive import Objects
from datakit_ci.canonical import JsonValue
from datakit_ci.dashboard import wording
from datakit_ci.dashboard.normal import normalised, plain
from datakit_ci.state import BuildState
from datakit_core.client.api import BlobId, Change, ChangeKind, Entry, TreeId
from datakit_core.errors import UnknownObject
from datakit_core.store.linediff import Hunk, line_diff

__all__ = [
    "FileDifference",
    "Line",
    "TreeDifference",
    "compare_facts",
    "compare_logs",
    "compare_trees",
    "last_bytes",
]

_MOST_CHANGES = 500
"""Changed paths that are listed."""

_MOST_DIFFS = 40
"""Of these, files whose lines are compared."""

_LARGEST = 128 << 10
"""Bytes of a file whose lines are compared."""

_MOST_LINES, _MOST_ALL = 400, 3_000
"""Lines shown of one file, and of all."""

_LARGEST_LOG = 4 << 20
"""Bytes of a log that are compared: its end, if it is longer."""

_ALONE = "Only one of the two builds has such a tree: one that did not pass has made nothing."

_LONGEST = 1_000
"""Characters of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference; a gap between two places has the sign ``…`` and nothing else."""

    sign: str
    old: int | None = None
    new: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A path that differs.

    Attributes:
        change: How.
        lines: What differs in it; empty if it is not shown.
        note: Why nothing is shown, or not all.
    """

    change: Change
    lines: tuple[Line, ...] = ()
    note: str = ""

    @property
    def word(self) -> str:
        """How it differs, in a word."""
        words = {
            ChangeKind.ADDED: "added",
            ChangeKind.REMOVED: "removed",
            ChangeKind.MODIFIED: "changed",
        }
        return words[self.change.kind]


@dataclass(frozen=True, slots=True)
class TreeDifference:
    """How two trees differ.

    Attributes:
        files: What differs, by path; bounded.
        total: How many paths differ.
        problem: Why they cannot be compared; empty if they can.
    """

    files: tuple[FileDifference, ...] = ()
    total: int = 0
    problem: str = ""


def compare_facts(old: BuildState, new: BuildState) -> Sequence[tuple[str, str, str]]:
    """What is recorded of two builds, where it differs: name, before, after."""
    before, after = _facts(old), _facts(new)
    names = dict.fromkeys((*before, *after))
    found = ((name, before.get(name, ""), after.get(name, "")) for name in names)
    return [(name, was, is_) for name, was, is_ in found if was != is_]


def _facts(state: BuildState) -> Mapping[str, str]:
    return {
        "status": state.status.value,
        "reason": state.reason,
        "exit status": "" if state.exit_status is None else str(state.exit_status),
        "took": _between(state.started, state.finished),
        "waited": _between(state.queued, state.started),
        "command": state.command,
        "code": wording.short_id(state.id.static),
        **dict(_parts(state.occasion.identity if state.occasion else {})),
        **state.details,
    }


def _between(start: datetime | None, end: datetime | None) -> str:
    return wording.duration(end - start) if start and end else ""


def _parts(identity: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """The parts of a stage; mappings, and lists of names with values, one by one."""
    found: list[tuple[str, str]] = []
    for part, value in identity.items():
        if isinstance(value, dict):
            found += [(f"{part} {name}", _told(each)) for name, each in value.items()]
        else:
            found.append((part, _told(value)))
    return found


def _told(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


async def compare_trees(objects: Objects, old: TreeId | None, new: TreeId | None) -> TreeDifference:
    """How two trees differ, with the lines of small files; equal directories are never read.

    Where one of them is not there, as the output of a build that failed, there is nothing to tell.
    """
    if old is None or new is None:
        both = old is None and new is None
        return TreeDifference(problem="Neither build has such a tree." if both else _ALONE)
    try:
        changes = await objects.diff(old, new)
    except UnknownObject:
        return TreeDifference(problem="One of the trees is not in the database any more.")
    files: list[FileDifference] = []
    left = _MOST_ALL
    for number, change in enumerate(changes[:_MOST_CHANGES]):
        if number >= _MOST_DIFFS or left <= 0:
            files.append(FileDifference(change))
            continue
        found = await _file(objects, old, new, change)
        left -= len(found.lines)
        files.append(found)
    return TreeDifference(tuple(files), len(changes))


async def _file(objects: Objects, old: TreeId, new: TreeId, change: Change) -> FileDifference:
    before, after = await _entry(objects, old, change.path), await _entry(objects, new, change.path)
    note = ""
    if before and after and before.mode is not after.mode:
        note = f"{_mode(before)} became {_mode(after)}"
        if before.id == after.id:
            return FileDifference(change, note=note)
    try:
        contents = [await _content(objects, entry) for entry in (before, after)]
    except UnknownObject:
        return FileDifference(change, note="its content is not in the database any more")
    if contents[0] is None or contents[1] is None:
        return FileDifference(change, note="too large to be compared here")
    lines = await _lines(contents[0], contents[1], contents[0], contents[1])
    if lines is None:
        return FileDifference(change, note="no text")
    if len(lines) > _MOST_LINES:
        return FileDifference(change, tuple(lines[:_MOST_LINES]), note or "the rest is left out")
    return FileDifference(change, tuple(lines), note)


async def _entry(objects: Objects, tree: TreeId, path: str) -> Entry | None:
    entry = await objects.entry(tree, path)
    return None if entry is None or entry.is_directory else entry


def _mode(entry: Entry) -> str:
    return {"F": "a file", "X": "a program", "L": "a link", "S": "a submodule"}[entry.mode.letter]


async def _content(objects: Objects, entry: Entry | None) -> bytes | None:
    """A file's content; empty if it is not there, none if it is large."""
    if entry is None or entry.mode.letter == "S":
        return b""
    if await objects.blob_size(BlobId(entry.id)) > _LARGEST:
        return None
    return b"".join([piece async for piece in objects.stream_blob(BlobId(entry.id), 0, _LARGEST)])


async def compare_logs(old: bytes, new: bytes) -> Sequence[Line] | None:
    """The lines that differ of two logs, but for moments and the like; none if one is binary."""
    lines = await _lines(normalised(old), normalised(new), old, new)
    return None if lines is None else lines[:_MOST_ALL]


async def last_bytes(objects: Objects, log: BlobId) -> tuple[bytes, bool]:
    """The end of a log, and whether that is all of it."""
    size = await objects.blob_size(log)
    start = max(0, size - _LARGEST_LOG)
    return b"".join([piece async for piece in objects.stream_blob(log, start)]), start == 0


async def _lines(old: bytes, new: bytes, old_shown: bytes, new_shown: bytes) -> list[Line] | None:
    """What differs between ``old`` and ``new``, told with the lines of what is shown."""
    hunks = await asyncio.to_thread(line_diff, old, new)
    if hunks is None:
        return None
    before, after = old_shown.split(b"\n"), new_shown.split(b"\n")
    found: list[Line] = []
    for number, hunk in enumerate(hunks):
        if number:
            found.append(Line("…"))
        found += _told_lines(hunk, before, after)
    return found


def _told_lines(hunk: Hunk, before: Sequence[bytes], after: Sequence[bytes]) -> list[Line]:
    found = []
    for line in hunk.lines:
        side, number = (before, line.old) if line.new is None else (after, line.new)
        raw = side[number - 1] if number and number <= len(side) else b""
        found.append(Line(line.sign, line.old, line.new, _shown(raw)))
    return found


def _shown(line: bytes) -> str:
    text = plain(line)[: _LONGEST * 4].decode(errors="replace")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
