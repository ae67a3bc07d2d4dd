"""A part of a text file, as lines: bounded, however long the file or one of its lines is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from datakit_ci.dashboard.source import finish

__all__ = ["LONGEST_LINE", "MAX_LINES", "TextWindow", "is_text", "read_text"]

MAX_LINES = 3000
"""Lines on one page."""

LONGEST_LINE = 4000
"""Characters of a line that are shown."""

_MAX_BYTES = 1 << 20
"""Bytes shown on one page."""

_FARTHEST = 256 << 20
"""Bytes of a file in which a line is looked for; further ones can be downloaded."""

_SAMPLE = 8000
"""Bytes by which text is told from anything else, as Git does."""


@dataclass(frozen=True, slots=True)
class TextWindow:
    """Some lines of a file that follow one another.

    Attributes:
        lines: Each without its end.
        first: The number of the first of them, from 1 on.
        more: Whether others come after them.
    """

    lines: tuple[str, ...]
    first: int
    more: bool

    @property
    def last(self) -> int:
        """The number of the last line; one less than ``first`` if there are none."""
        return self.first + len(self.lines) - 1


def is_text(sample: bytes) -> bool:
    """Whether a file that begins so is text: there is no NUL."""
    return b"\0" not in sample[:_SAMPLE]


async def read_text(pieces: AsyncIterator[bytes], first: int = 1) -> TextWindow | None:
    """The lines from number ``first`` on; none if the file is not text.

    Of a file of which only the end is wanted, everything before is read, but not kept.
    """
    kept = bytearray()
    skip, seen = first - 1, 0
    ended = True
    try:
        async for piece in pieces:
            if not seen and not is_text(piece):
                return None
            seen += len(piece)
            skip, rest = _skip(piece, skip)
            kept += rest
            if len(kept) > _MAX_BYTES or kept.count(b"\n") > MAX_LINES or seen > _FARTHEST:
                ended = False
                break
            await asyncio.sleep(0)
    finally:
        await finish(pieces)
    return _window(bytes(kept), first, ended=ended)


def _skip(piece: bytes, lines: int) -> tuple[int, bytes]:
    """Leave out as many lines; says how many are still to be left out, and what is left."""
    if not lines:
        return 0, piece
    count = piece.count(b"\n")
    if count < lines:
        return lines - count, b""
    return 0, piece.split(b"\n", lines)[-1]


def _window(content: bytes, first: int, *, ended: bool) -> TextWindow:
    lines = content[: _MAX_BYTES + 1].split(b"\n")
    more = not ended or len(content) > _MAX_BYTES
    if (more and len(lines) > 1) or not lines[-1]:
        lines.pop()  # it goes on, or it is the end of the last line
    more = more or len(lines) > MAX_LINES
    return TextWindow(tuple(_decoded(line) for line in lines[:MAX_LINES]), first, more)


def _decoded(line: bytes) -> str:
    text = line.removesuffix(b"\r")[: LONGEST_LINE * 4].decode(errors="replace")
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
