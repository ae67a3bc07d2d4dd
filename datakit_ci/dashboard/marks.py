"""Sections of a log: where a command or a group of lines begins and ends, so that it can be folded.

What a stage runs is itself the first section (the ``$`` line that the log begins with). Within it,
each command that a shell traces is one: stages give ``set -x`` a prompt that says so. Groups are
marked as on other CI services, since the tools that people use know those services. All marks are
at the beginnings of lines:

======================================================== =========================================
``ESC ]133;A BEL`` and ``ESC ]133;D BEL``                a command; FinalTerm's, as shells emit it
``::group::TITLE``, ``::endgroup::``                     GitHub Actions
``##[group]TITLE``, ``##[endgroup]``                     Azure Pipelines
``section_start:TIME:NAME CR TITLE``, ``section_end:…``  GitLab CI
``travis_fold:start:NAME``, ``travis_fold:end:NAME``     Travis CI
``##teamcity[blockOpened name='TITLE']``, ``blockClosed``  TeamCity
======================================================== =========================================
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from datakit_ci.dashboard.ansi import plain

__all__ = ["MOST_SECTIONS", "Section", "SectionFinder"]

MOST_SECTIONS = 2000
"""Sections of one log; marks after that are lines like others."""

_LONGEST_TITLE = 200
_LONGEST_MARK = 4096
"""Bytes of a line that are looked at."""

_NEEDLES = (b"]133;", b"group", b"section_", b"travis_fold:", b"##teamcity[block")
"""One of them is in every mark: most parts of most logs have none, and that is found out fast."""

_MARK = re.compile(
    rb"^(?:\x1b\[0?K)?(?:"
    rb"\x1b*\]133;(?P<prompt>[AD])[^\x07\x1b\n]{0,99}(?:\x07|\x1b\\)(?P<command>[^\n]*)"
    rb"|(?P<close>::endgroup::|\#\#\[endgroup\]|section_end:|travis_fold:end:"
    rb"|\#\#teamcity\[blockClosed)[^\n]*"
    rb"|(?:::group::|\#\#\[group\]|section_start:[0-9]{1,20}:|travis_fold:start:"
    rb"|\#\#teamcity\[blockOpened\ )(?P<group>[^\n]*)"
    rb")",
    re.MULTILINE | re.VERBOSE,
)
_NAMED = re.compile(rb"name='((?:[^'|]|\|.)*)'")
_OPTIONS = re.compile(rb"\[[^\]]*\]\Z")
_OPENING = re.compile(rb"(?:\[datakit-ci\] [^\n]*\n)*(?P<first>\$ [^\n]*)\n")


class _Kind(enum.Enum):
    STAGE = 0
    COMMAND = 1
    GROUP = 2


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together.

    Attributes:
        first: The number of its heading.
        last: The number of its last line; none: it goes on to the end.
        title: What the heading says, without marks.
        depth: How many sections it is in.
    """

    first: int
    last: int | None
    title: str
    depth: int


@dataclass(slots=True)
class _Open:
    place: int
    kind: _Kind


class SectionFinder:
    """Whole lines in, sections out; memory is bounded."""

    def __init__(self) -> None:
        """Begin at line 1."""
        self._sections: list[Section] = []
        self._stack: list[_Open] = []
        self._line = 1
        self._rest = b""

    @property
    def sections(self) -> Sequence[Section]:
        """What was found so far, in the order of their headings."""
        return self._sections

    def feed(self, data: bytes) -> None:
        """Take more of the log."""
        whole, newline, last = data.rpartition(b"\n")
        if newline:
            self._lines(self._rest + whole + newline)
            self._rest = b""
        self._rest = (self._rest + last[:_LONGEST_MARK])[:_LONGEST_MARK]

    def _lines(self, block: bytes) -> None:
        if self._line == 1 and (match := _OPENING.match(block)):
            first = 1 + block.count(b"\n", 0, match.start("first"))
            self._open(first, match["first"][2:], _Kind.STAGE)
        if any(needle in block for needle in _NEEDLES):
            line, position = self._line, 0
            for match in _MARK.finditer(block):
                line += block.count(b"\n", position, match.start())
                position = match.start()
                self._mark(line, match)
        self._line += block.count(b"\n")

    def _mark(self, line: int, match: re.Match[bytes]) -> None:
        if match["close"]:
            self._close(line, _Kind.GROUP)
        elif match["group"] is not None:
            self._open(line, _title(match["group"]), _Kind.GROUP)
        else:
            if self._stack and self._stack[-1].kind is _Kind.COMMAND:
                self._close(line - (match["prompt"] == b"A"), _Kind.COMMAND)
            if match["prompt"] == b"A":
                self._open(line, match["command"].removeprefix(b"+ "), _Kind.COMMAND)

    def _open(self, line: int, title: bytes, kind: _Kind) -> None:
        if len(self._sections) < MOST_SECTIONS:
            self._stack.append(_Open(len(self._sections), kind))
            text = plain(title[:_LONGEST_MARK]).strip()[:_LONGEST_TITLE]
            self._sections.append(Section(line, None, text, len(self._stack) - 1))

    def _close(self, line: int, kind: _Kind) -> None:
        """End the innermost section of ``kind``, and what is open within it; there may be none."""
        if any(opened.kind is kind for opened in self._stack):
            while True:
                opened = self._stack.pop()
                section = self._sections[opened.place]
                self._sections[opened.place] = Section(
                    section.first, max(line, section.first), section.title, section.depth
                )
                if opened.kind is kind:
                    return


def _title(group: bytes) -> bytes:
    """The title in what follows a mark that opens a group: the name, unless text comes after it."""
    if named := _NAMED.search(group):
        return named[1]
    name, _, text = group.rstrip(b"\r").partition(b"\r")
    return text if plain(text).strip() else _OPTIONS.sub(b"", name)
