"""Line differences of two contents, as diff(1) finds them: by libgit2's xdiff, which is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pygit2

__all__ = ["Hunk", "LineChange", "line_diff"]


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line of a difference.

    Attributes:
        sign: ``+`` for new lines, ``-`` for old ones, a space for those around them.
        old, new: Its number on either side, from 1 on; none where it is not there.
    """

    sign: str
    old: int | None
    new: int | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that belong together: changes, and what is around them."""

    lines: tuple[LineChange, ...]


def line_diff(old: bytes, new: bytes, context: int = 3) -> Sequence[Hunk] | None:
    """The lines that differ, by their numbers; none if one side is binary.

    Time grows with what differs; it takes no lock of Python's while it works.

    Args:
        old: The former content.
        new: The present one.
        context: Lines shown around a change.
    """
    if b"\0" in old[:8000] or b"\0" in new[:8000]:
        return None
    patch = pygit2.Patch.create_from(old, new, context_lines=context)
    hunks = []
    for hunk in patch.hunks:
        lines = [
            LineChange(line.origin, _number(line.old_lineno), _number(line.new_lineno))
            for line in hunk.lines
            if line.origin in " +-"
        ]
        hunks.append(Hunk(tuple(lines)))
    return hunks


def _number(number: int) -> int | None:
    return number if number > 0 else None
