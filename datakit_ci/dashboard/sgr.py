"""Select Graphic Rendition: what text looks like on a terminal, and as classes of our pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from datakit_ci.dashboard.palette import nearest, on

__all__ = ["DEFAULT", "Style", "number"]

_MAX_PARAMETERS = 128
"""Characters of one sequence's parameters that are looked at."""

_INK = 7
"""The colour of the 256 that is nearest to the log's own text colour."""

_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF = {
    22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """The graphic rendition in force: two colours (indices, or none for the default) and flags."""

    fg: int | None = None
    bg: int | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False

    def apply(self, parameters: str) -> Style:
        """The style after ``parameters`` (ECMA-48, 8.3.117, with xterm's colours)."""
        return _applied(self, parameters[:_MAX_PARAMETERS])

    def sgr(self) -> str:
        """The shortest parameters that give this style from the default one."""
        codes = [str(code) for code, name in _FLAGS.items() if getattr(self, name)]
        codes += [] if self.fg is None else [f"38;5;{self.fg}"]
        codes += [] if self.bg is None else [f"48;5;{self.bg}"]
        return ";".join(codes)

    def classes(self) -> str:
        """The HTML classes that show this style; empty for the default."""
        return _classes(self)


DEFAULT = Style()
"""Nothing special."""


@lru_cache(maxsize=4096)  # logs repeat few combinations very often
def _applied(style: Style, parameters: str) -> Style:
    codes, index = _codes(parameters), 0
    while index < len(codes):
        code = codes[index]
        index += 1
        if code in (38, 48):
            colour, index = _extended(codes, index)
            style = style if colour is None else _coloured(style, code, colour)
        else:
            style = _coded(style, code)
    return style


@lru_cache(maxsize=4096)
def _classes(style: Style) -> str:
    fg, bg = (style.bg, style.fg) if style.inverse else (style.fg, style.bg)
    names = [name for name in _FLAGS.values() if name != "inverse" and getattr(style, name)]
    if bg is not None:
        names += [on(fg, bg), f"b{bg}"]
    elif style.inverse:  # the default colours change places
        names += ["inverse"] if fg is None else [on(fg, _INK), f"b{_INK}"]
    elif fg is not None:
        names.append(f"f{fg}")
    return " ".join(names)


def _codes(parameters: str) -> list[int]:
    """All parameters in a row; those joined by colons (ITU-T T.416) as if by semicolons."""
    codes: list[int] = []
    for group in parameters.split(";"):
        first, *others = (number(part) for part in group.split(":"))
        if first in (38, 48):
            if others[:1] == [2] and len(others) > 4:
                del others[1]  # the colour space, which nobody names
            codes += [first, *others]
        else:
            codes.append(24 if (first, others) == (4, [0]) else first)  # 4:3 is a wavy underline
    return codes


def _coloured(style: Style, code: int, colour: int) -> Style:
    return replace(style, fg=colour) if code == 38 else replace(style, bg=colour)


def _coded(style: Style, code: int) -> Style:
    """``style`` after one parameter that stands alone."""
    match code:
        case 0:
            return DEFAULT
        case 39:
            return replace(style, fg=None)
        case 49:
            return replace(style, bg=None)
        case _ if code in _FLAGS:
            return replace(style, **{_FLAGS[code]: True})
        case _ if code in _OFF:
            return replace(style, **dict.fromkeys(_OFF[code], False))
        case _ if 30 <= code <= 37 or 90 <= code <= 97:
            return replace(style, fg=code - 30 if code < 40 else code - 82)
        case _ if 40 <= code <= 47 or 100 <= code <= 107:
            return replace(style, bg=code - 40 if code < 50 else code - 92)
        case _:
            return style


def number(text: str) -> int:
    """Read a parameter; missing is 0, and one too long to be meant is one that means nothing."""
    if not text:
        return 0
    return int(text) if text.isdigit() and len(text) < 5 else -1


def _extended(codes: list[int], index: int) -> tuple[int | None, int]:
    """Read ``5;N`` or ``2;R;G;B`` after 38 or 48; gives the colour and where to read on."""
    kind = codes[index] if index < len(codes) else -1
    if kind == 5:
        colour = codes[index + 1] if index + 1 < len(codes) else -1
        return (colour if 0 <= colour <= 255 else None), index + 2
    if kind == 2:
        rgb = codes[index + 1 : index + 4]
        if len(rgb) == 3 and all(0 <= part <= 255 for part in rgb):
            return nearest(*rgb), index + 4
        return None, index + 4
    return None, index + 1
