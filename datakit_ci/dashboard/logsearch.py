"""Looking for something in a whole log: on the server, in bounded steps, and as it goes on.

Expressions are RE2's: the time that they take grows with the length of the text and with nothing
else, so that no expression can hold up the server. What is searched is the text that is shown, not
the bytes: colours between two letters hide nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import re2

from datakit_ci.dashboard.ansi import clean
from datakit_ci.dashboard.failures import FAILURE, is_fine

__all__ = [
    "LONGEST_QUERY",
    "MOST_MATCHES",
    "Found",
    "Match",
    "Pattern",
    "Query",
    "failures",
    "find",
    "text_query",
]

MOST_MATCHES = 10_000
"""Matching lines that are told."""

LONGEST_QUERY = 1000
"""Characters of what is looked for."""

_LONGEST_LINE = 1 << 20
"""Bytes of one line that are searched."""


class Match(Protocol):
    """Where something was found."""

    def start(self) -> int:
        """The first byte of it."""
        ...

    def end(self) -> int:
        """The byte after it."""
        ...


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: bytes, pos: int, /) -> Match | None:
        """The first match at or after ``pos``."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for, in lines of text as UTF-8.

    Attributes:
        pattern: Matches within a line.
        rejects: Says of a matching line that it is none after all.
        by_run: Whether of matching lines that follow each other only the first is told.
    """

    pattern: Pattern
    rejects: Callable[[bytes], bool] | None = None
    by_run: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a part of the log had.

    Attributes:
        lines: Numbers of lines that match, increasing.
        offset: So many bytes have been searched.
    """

    lines: list[int]
    offset: int


def text_query(text: str, *, expression: bool = False, case: bool = False) -> Query:
    """Look for ``text``, or for what it matches as an ``expression``.

    Args:
        text: Not empty, at most :data:`LONGEST_QUERY` characters.
        expression: Whether it is a regular expression in RE2's syntax.
        case: Whether capitals differ from small letters.

    Raises:
        ValueError: It is too long, or no expression.
    """
    if not text or len(text) > LONGEST_QUERY:
        raise ValueError(f"give 1 to {LONGEST_QUERY} characters to look for")
    return Query(_compile(text if expression else re2.escape(text), case=case))


def failures() -> Query:
    """Look for failures, by the rules of :mod:`datakit_ci.dashboard.failures`.

    One that is told in several lines is found once.
    """
    return Query(_compile(FAILURE, case=True), is_fine, by_run=True)


def _compile(expression: str, *, case: bool) -> Pattern:
    options = re2.Options()
    options.case_sensitive = case
    options.never_nl = True
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(f"(?m:{expression})", options))
    except re2.error as error:
        text = error.args[0] if error.args else error
        reason = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        told = reason.partition(": (?m:")[0]  # without what we have put around it
        raise ValueError(f"no regular expression: {told}") from error


async def find(pieces: AsyncIterator[bytes], query: Query) -> AsyncGenerator[Found, None]:
    """Search a log from its start, and tell after each piece of it."""
    finder = _Finder(query)
    offset = 0
    async for piece in pieces:
        offset += len(piece)
        yield Found(finder.feed(piece), offset)
    yield Found(finder.finish(), offset)


class _Finder:
    """Searches a stream; memory is bounded by the longest line that is searched."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._line = 1  # the number of the line that is not finished
        self._rest = b""  # what there is of it
        self._is_cut = False  # it has been searched already: it is too long
        self._previous = -1  # the last line that matched

    def feed(self, piece: bytes) -> list[int]:
        """Numbers of matching lines among those that ``piece`` completes."""
        found: list[int] = []
        if self._is_cut:
            _, newline, piece = piece.partition(b"\n")
            self._line += len(newline)
            self._is_cut = not newline
        whole, newline, last = piece.rpartition(b"\n")
        if newline:
            block = self._rest + whole
            found = self._search(block)
            self._line += block.count(b"\n") + 1
            self._rest = b""
        if not self._is_cut:
            self._rest += last
        if len(self._rest) > _LONGEST_LINE:
            found += self.finish()
            self._is_cut = True
        return found

    def finish(self) -> list[int]:
        """The number of the unfinished line, if it matches."""
        rest, self._rest = self._rest, b""
        return self._search(rest) if rest else []

    def _search(self, block: bytes) -> list[int]:
        lines = [self._line + number for number in _matches(clean(block), self._query)]
        if not self._query.by_run:
            return lines
        return [line for line in lines if not self._follows(line)]

    def _follows(self, line: int) -> bool:
        previous, self._previous = self._previous, line
        return line == previous + 1


def _matches(block: bytes, query: Query) -> Iterator[int]:
    """The places, from 0, of the matching lines in a block of lines."""
    number = position = 0
    while match := query.pattern.search(block, position):
        number += block.count(b"\n", position, match.start())
        begin = block.rfind(b"\n", 0, match.start()) + 1
        end = block.find(b"\n", match.end())
        line = block[begin : None if end < 0 else end]
        if query.rejects is None or not query.rejects(line):
            yield number
        if end < 0:
            return
        position, number = end + 1, number + 1
