"""The 256 colours of terminals, on our dark log panel, as a style sheet.

Pages may not carry inline styles (their Content-Security-Policy forbids them), so that every
colour is a class: ``f0`` to ``f255`` for text and ``b0`` to ``b255`` behind it. A 24-bit colour
becomes the nearest of them.
"""

from __future__ import annotations

from functools import cache, lru_cache

__all__ = ["BACKGROUND", "colour", "contrast", "nearest", "on", "readable", "stylesheet"]

Rgb = tuple[int, int, int]

BACKGROUND: Rgb = (0x12, 0x14, 0x18)
"""The log panel's own colour, in both themes; the style sheet of the pages names it too."""

_SIXTEEN: tuple[Rgb, ...] = (
    (0x1B, 0x1E, 0x23), (0xF2, 0x77, 0x7A), (0x7F, 0xC9, 0x8F), (0xE3, 0xB9, 0x5F),
    (0x78, 0xA9, 0xF5), (0xCF, 0x98, 0xE8), (0x62, 0xC4, 0xCE), (0xC9, 0xCD, 0xD4),
    (0x8A, 0x91, 0x9E), (0xFF, 0x9A, 0x98), (0xA4, 0xE0, 0xAF), (0xF6, 0xD3, 0x86),
    (0xA3, 0xC6, 0xFF), (0xE2, 0xBC, 0xF5), (0x93, 0xE0, 0xE6), (0xFF, 0xFF, 0xFF),
)  # fmt: skip

_STEPS = (0, 95, 135, 175, 215, 255)
"""The levels of the 6 x 6 x 6 cube, as xterm has them."""

_READABLE = 4.5
"""The contrast that WCAG 2.2 (1.4.3, level AA) asks of text."""


def colour(index: int) -> Rgb:
    """The colour ``index`` (0 to 255): 16 of ours, xterm's cube, then 24 greys."""
    if index < 16:
        return _SIXTEEN[index]
    if index < 232:
        cube = index - 16
        return _STEPS[cube // 36], _STEPS[cube // 6 % 6], _STEPS[cube % 6]
    grey = 8 + 10 * (index - 232)
    return grey, grey, grey


@lru_cache(maxsize=4096)
def nearest(red: int, green: int, blue: int) -> int:
    """The index from 16 to 255 of the colour closest to a 24-bit one."""
    wanted = (red, green, blue)
    return min(range(16, 256), key=lambda index: _distance(colour(index), wanted))


def _distance(one: Rgb, other: Rgb) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _luminance(rgb: Rgb) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(rgb: Rgb) -> Rgb:
    """``rgb``, mixed with white until it can be read on the log panel."""
    mixed = rgb
    for step in range(1, 21):
        if contrast(mixed, BACKGROUND) >= _READABLE:
            break
        red, green, blue = (part + (255 - part) * step // 20 for part in rgb)
        mixed = (red, green, blue)
    return mixed


@cache
def on(fg: int | None, bg: int) -> str:
    """The class for text of colour ``fg`` (none: the default) on a background: exact if readable.

    Programs mean well with white on yellow; their terminals had another yellow.
    """
    back = colour(bg)
    if fg is not None and contrast(colour(fg), back) >= _READABLE:
        return f"on f{fg}"
    return "dark" if contrast((0, 0, 0), back) >= contrast((255, 255, 255), back) else "light"


def stylesheet() -> bytes:
    """The classes ``f0``...``f255`` and ``b0``...``b255``.

    Text on a background of its own keeps its exact colour (``on``) where that can be read.
    """
    rules = []
    for index in range(256):
        exact = colour(index)
        rules.append(f".f{index}{{color:{_hex(readable(exact))}}}")
        rules.append(f".b{index}{{background:{_hex(exact)}}}")
        rules.append(f".on.f{index}{{color:{_hex(exact)}}}")
    return "\n".join(rules).encode()


def _hex(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
