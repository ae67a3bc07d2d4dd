"""A badge: a word and a state, as SVG that asks for nothing else."""

from __future__ import annotations

from html import escape
from typing import Final

from datakit_ci.state import Status

__all__ = ["badge"]

_STATES: Final = {
    Status.SUCCESS: ("passing", "#1a7444"),
    Status.FAILURE: ("failing", "#bd2a1e"),
    Status.ERROR: ("error", "#8d2fa3"),
    Status.RUNNING: ("running", "#1264b4"),
    Status.WAITING: ("waiting", "#80600a"),
    Status.BLOCKED: ("blocked", "#655f6e"),
    Status.CANCELLED: ("cancelled", "#5d636b"),
}
"""Words and colours; white on each of them has a contrast of 4.5 and more (WCAG AA)."""

_LONGEST = 60
_WIDE, _NARROW = frozenset("mwMW@%"), frozenset("fijlrt.,:;|!'() ")


def badge(label: str, status: Status) -> str:
    """The picture for a ``label`` and where it stands; a long label is cut."""
    word, colour = _STATES[status]
    if len(label) > _LONGEST:
        label = label[: _LONGEST - 1] + "…"
    left, right = _width(label), _width(word)
    whole, said = left + right, escape(label)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{said}: {word}"><title>{said}: {word}</title>'
        f'<clipPath id="r"><rect width="{whole}" height="20" rx="4"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3a3f45"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-size="11" '
        'font-family="Verdana,DejaVu Sans,Geneva,sans-serif">'
        f'<text x="{left / 2:g}" y="14" textLength="{left - 12}">{said}</text>'
        f'<text x="{left + right / 2:g}" y="14" textLength="{right - 12}">{word}</text></g></svg>\n'
    )


def _width(text: str) -> int:
    """About as many pixels as the text takes, with room at both ends."""
    widths = (10 if char in _WIDE else 4 if char in _NARROW else 7 for char in text)
    return 12 + max(6, sum(widths))
