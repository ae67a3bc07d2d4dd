"""Times, sizes and counts as people say them, and hostile text made harmless to read."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

__all__ = ["ago", "cell_label", "count", "duration", "moment", "short_id", "size", "visible"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

_CELL = re.compile(r"([^()]+)\((.+)\)")
_PARAMETER = re.compile(r'(\w+)=(?:"([^"\\]*)"|([^",\s\[\]{}]+))')


def visible(text: str) -> str:
    r"""Write out characters that would hide, reorder or break text, such as ``\u202e``.

    Branch names and commit subjects come from strangers: a right-to-left override in one must
    not rearrange the page around it. Lone surrogates stand for bytes that are not UTF-8.
    """
    return _UNPRINTABLE.sub(lambda match: _written_out(ord(match[0])), text)


def _written_out(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte that was there
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cell_label(label: str) -> str:
    """What people call a stage with parameters: ``types 3.11`` for ``types(PYTHON="3.11")``.

    Values that are true or false, or no plain text or number, need their name to make sense:
    ``sizes deep=true``. What does not look like parameters stays as it is.
    """
    match = _CELL.fullmatch(label)
    found = list(_PARAMETER.finditer(match[2])) if match is not None else []
    if match is None or not found or ", ".join(each[0] for each in found) != match[2]:
        return label
    return " ".join((match[1], *(_value(*each.groups()) for each in found)))


def _value(name: str, text: str | None, other: str | None) -> str:
    if other is not None:
        return other if other[0] in "-0123456789" else f"{name}={other}"
    return text or f'{name}=""'


def duration(span: timedelta) -> str:
    """How long something took, to two units: ``0.4 s``, ``41 s``, ``3 min 07 s``."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, to one unit; a moment in the future counts as now (clocks differ)."""
    seconds = int((now - then).total_seconds())
    if seconds < 5:
        return "just now"
    if seconds < _MINUTE:
        return f"{seconds} s ago"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h ago"
    days = seconds // _DAY
    if days < 31:
        return f"{count(days, 'day')} ago"
    return f"on {then.day} {then:%B %Y}"


def moment(then: datetime) -> str:
    """A moment in full, for tooltips: ``2026-03-04 05:06:07 UTC``."""
    return f"{then:%Y-%m-%d %H:%M:%S} UTC"


def size(octets: int) -> str:
    """Bytes as ``812 B``, ``44.1 kB`` or ``3.0 MB`` (powers of a thousand)."""
    if octets < 1000:
        return f"{octets} B"
    value = float(octets)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value:,.1f} GB"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 job``, ``2 jobs``, ``1,204 lines``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short_id(identity: str) -> str:
    """The first ten digits of an object id: enough for people."""
    return identity[:10]
