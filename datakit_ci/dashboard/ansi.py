"""Logs to safe HTML: colours, carriage returns and progress bars, a line at a time.

What a terminal would show of one line is what we show: text overwritten after a carriage return
or a backspace is gone, an erased line is empty. Movements between lines are ignored, since a log
has no screen. Sequences are those of ECMA-48 and xterm; whatever is not understood is dropped
and can therefore neither show up as rubbish nor do harm. All text is escaped.

Rendering can stop at any line and go on from there later, in another process even: a
:class:`Cursor` is a short string (the ``id`` of a server-sent event) that holds everything
needed, the byte offset, the line number and the colours in force.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Self

from datakit_ci.dashboard.sgr import DEFAULT, Style, number
from datakit_ci.dashboard.wording import visible

__all__ = ["START", "Cursor", "Line", "LogRenderer", "clean", "plain"]

_MAX_CELLS = 8192
"""Characters shown of one line; a longer one is cut, and the raw log has the rest."""

_MAX_LINE = 1 << 20
"""Bytes of one line that are looked at: a progress bar may overwrite itself very often."""

_MAX_SEQUENCE = 4096
"""Characters of an unfinished escape sequence that are kept waiting for its end."""

_PLAIN = re.compile(rb"[^\x00-\x08\x0b-\x1f\x7f\xc2]*\r?")
"""A line without controls (those from U+0080 on begin with C2), for which there is a short way."""

_COLOURED = re.compile(rb"(?:[^\x00-\x08\x0b-\x1f\x7f\xc2]|\x1b\[[0-9;:]*m)*\r?")
"""A line whose only controls are colours: there is a short way for it, too."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
"""What makes the text of a line differ from its bytes."""

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_SGR_BYTES = re.compile(rb"(?:\x1b\[|\xc2\x9b)([0-9;:]*)m")
_RESETS = (b"\x1b[0m", b"\x1b[m")

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f-\x9f]+)"
    r"|(?:\x1b\[|\x9b)(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x8f\x91-\x97\x99\x9a\x9c])"
)

_UNFINISHED = re.compile(
    r"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c]*\x1b?)\Z"
    r"|\x9b[0-?]*[ -/]*\Z|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c]*\x1b?\Z"
)
"""A sequence whose end may come with the next bytes."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where rendering stands: always at the start of a line.

    Attributes:
        offset: Bytes of log before it.
        line: Number of the line that begins here, from 1.
        style: The colours in force.
    """

    offset: int = 0
    line: int = 1
    style: Style = DEFAULT

    def __str__(self) -> str:
        return f"{self.offset}.{self.line}.{self.style.sgr()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str()`` wrote; it comes back from browsers, so anything may arrive.

        Raises:
            ValueError: It has another form.
        """
        match = re.fullmatch(r"([0-9]{1,15})\.([0-9]{1,15})\.([0-9;]{0,64})", text, re.ASCII)
        if match is None or not int(match[2]):
            raise ValueError("not a position in a log; expected OFFSET.LINE.STYLE")
        style = DEFAULT.apply(match[3]) if match[3] else DEFAULT
        return cls(int(match[1]), int(match[2]), style)


START = Cursor()


@dataclass(frozen=True, slots=True)
class Line:
    """One line, rendered.

    Attributes:
        number: From 1.
        html: What it shows, without any character that is not safe.
        offset: Where in the log it begins.
    """

    number: int
    html: str
    offset: int = 0


class LogRenderer:
    """Bytes of a log in, lines of HTML out; memory is bounded by the longest line shown."""

    def __init__(self, cursor: Cursor = START) -> None:
        """Begin at ``cursor``; the first byte fed is the one at its offset."""
        self._cursor = cursor
        self._pen = cursor.style
        self._unfinished = 0
        self._row = _Row()
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def cursor(self) -> Cursor:
        """The start of the line that is not finished yet."""
        return self._cursor

    def feed(self, data: bytes) -> list[Line]:
        """Take more of the log; gives the lines that it completes."""
        *whole, last = data.split(b"\n")
        lines = [self._finish(raw) for raw in whole]
        if last:
            self._take(last)
        return lines

    def partial(self) -> Line | None:
        """The unfinished last line as it stands, if there is anything of it."""
        if not self._unfinished:
            return None
        return Line(self._cursor.line, self._row.html(), self._cursor.offset)

    def text(self, raw: bytes) -> str:
        """The text of one line without its break, for a renderer that has been fed nothing."""
        self._take(raw, final=True)
        return self._row.text()

    def skip(self, data: bytes) -> None:
        """Pass over ``data`` fast: of whole lines only number and colours are kept."""
        if self._unfinished:
            head, newline, data = data.partition(b"\n")
            self.feed(head + newline)
        whole, newline, last = data.rpartition(b"\n")
        start = max(whole.rfind(reset) for reset in _RESETS)  # what was before it has no effect
        for match in _SGR_BYTES.finditer(whole, max(0, start)):
            self._pen = self._pen.apply(match[1].decode("ascii"))
        if newline:
            self._advance(len(whole) + 1, whole.count(b"\n") + 1)
        self.feed(last)

    def _finish(self, raw: bytes) -> Line:
        length = len(raw) + 1
        short = not self._unfinished and len(raw) <= _MAX_CELLS
        if short and _PLAIN.fullmatch(raw):
            html = _span(_decode(raw), self._pen)
        elif short and _COLOURED.fullmatch(raw):
            html = self._colour(_decode(raw))
        else:
            length += self._unfinished
            self._take(raw, final=True)
            html = self._row.html()
            self._row, self._rest, self._unfinished = _Row(), "", 0
        line = Line(self._cursor.line, html, self._cursor.offset)
        self._advance(length, 1)
        return line

    def _take(self, raw: bytes, *, final: bool = False) -> None:
        """More of a line that is not short or not finished; of a very long one, its beginning."""
        room = max(0, _MAX_LINE - self._unfinished)
        self._unfinished += len(raw)
        self._write(self._decoder.decode(raw[:room], final=final))
        if len(raw) > room:
            self._row.cut()

    def _colour(self, text: str) -> str:
        """A line that only changes colours: text and parameters in turns."""
        runs: list[tuple[str, Style]] = []
        for index, part in enumerate(_SGR.split(text)):
            if index % 2:
                self._pen = self._pen.apply(part)
            elif part and runs and runs[-1][1] == self._pen:
                runs[-1] = (runs[-1][0] + part, self._pen)
            elif part:
                runs.append((part, self._pen))
        return "".join(_span(part, style) for part, style in runs)

    def _advance(self, octets: int, lines: int) -> None:
        here = self._cursor
        self._cursor = Cursor(here.offset + octets, here.line + lines, self._pen)

    def _write(self, text: str) -> None:
        text, position = self._rest + text, 0
        self._rest = ""
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is not None:
                position = match.end()
                self._act(match)
            elif len(text) - position < _MAX_SEQUENCE and _UNFINISHED.match(text, position):
                self._rest = text[position:]
                break
            else:  # the opening of something that it then is not: drop that character
                position += 1

    def _act(self, match: re.Match[str]) -> None:
        match match.lastgroup:
            case "text":
                self._row.write(match["text"], self._pen)
            case "control":
                self._row.control(match["control"])
            case "final" if match["final"] == "m":
                self._pen = self._pen.apply(match["parameters"])
            case "final":
                self._row.edit(match["final"], number(match["parameters"]))
            case _:
                pass


class _Row:
    """The cells of one line of a terminal, and the column where writing goes on."""

    def __init__(self) -> None:
        self._characters: list[str] = []
        self._styles: list[Style] = []
        self._column = 0
        self._cut = False

    def write(self, text: str, style: Style) -> None:
        room = _MAX_CELLS - self._column
        if len(text) > room:
            self.cut()
            text = text[:room]
        self._pad(self._column)
        end = self._column + len(text)
        self._characters[self._column : end] = text
        self._styles[self._column : end] = [style] * len(text)
        self._column = end

    def cut(self) -> None:
        """There is more of this line than is shown."""
        self._cut = True

    def control(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\t":
            self.write(character, DEFAULT)

    def edit(self, final: str, number: int) -> None:
        """Erase in line (K) and movements within it (C, D, G); ECMA-48 names in brackets."""
        match final:
            case "C":  # CUF
                self._column = min(self._column + max(1, number), _MAX_CELLS)
            case "D":  # CUB
                self._column = max(0, self._column - max(1, number))
            case "G":  # CHA
                self._column = min(max(1, number), _MAX_CELLS) - 1
            case "K":  # EL
                self._erase(number)
            case _:
                pass

    def _erase(self, part: int) -> None:
        if part == 0:
            del self._characters[self._column :], self._styles[self._column :]
        else:
            end = len(self._characters) if part == 2 else min(self._column, len(self._characters))
            self._characters[:end] = " " * end
            self._styles[:end] = [DEFAULT] * end

    def _pad(self, column: int) -> None:
        missing = column - len(self._characters)
        if missing > 0:
            self._characters += " " * missing
            self._styles += [DEFAULT] * missing

    def text(self) -> str:
        return "".join(self._characters)

    def html(self) -> str:
        pairs = zip(self._characters, self._styles, strict=True)
        parts = [
            _span("".join(character for character, _ in run), style)
            for style, run in groupby(pairs, key=lambda pair: pair[1])
        ]
        if self._cut:
            parts.append('<i class="cut"> … cut here; the raw log has the whole line</i>')
        return "".join(parts)


def plain(raw: bytes) -> str:
    """The text that one line leaves on a terminal, without colours; ``raw`` has no line break."""
    if _PLAIN.fullmatch(raw):
        return _decode(raw)
    renderer = LogRenderer()
    return renderer.text(raw)


def clean(lines: bytes) -> bytes:
    """The text of whole ``lines``, as UTF-8 if they are, without colours: line by line as before.

    What is no UTF-8 stays as it is, unless the line has controls as well.
    """
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
    if b"\x1b[" in lines:
        lines = _SGR_BYTES.sub(b"", lines)
    if _CONTROL.search(lines) is None:
        return lines
    return b"\n".join(
        plain(line).encode() if _CONTROL.search(line) else line for line in lines.split(b"\n")
    )


def _decode(raw: bytes) -> str:
    return raw.removesuffix(b"\r").decode("utf-8", "replace")


def _span(text: str, style: Style) -> str:
    safe = escape(visible(text))
    classes = style.classes()
    return f'<span class="{classes}">{safe}</span>' if classes and safe else safe
