"""Logs made comparable: what differs from run to run without meaning anything is made the same."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["normalised", "plain"]

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_OVERWRITTEN = re.compile(rb"[^\n]*\r(?=[^\n\r])")

_MEANINGLESS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            rb"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:\d\d? )?[A-Z][a-z]{2}(?: [ \d]?\d)?\b",
            b"<day>",
        ),
        (rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?", b"<time>"),
        (rb"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", b"<time>"),
        (rb"\b\d+(?:[.,]\d+)?\s?(?:[num]s|\xc2\xb5s|s|secs?|seconds?|min|minutes?)\b", b"<spent>"),
        (rb"\b0x[0-9a-fA-F]{6,16}\b", b"<address>"),
        (rb"/tmp/[A-Za-z0-9_.+-]+", b"/tmp/<name>"),
        (rb"\b(pid|PID|process)([ =:]+)\d+\b", rb"\1\2<number>"),
    )
)


def plain(text: bytes) -> bytes:
    """``text`` without colours, and with the last state of lines that are overwritten."""
    return _OVERWRITTEN.sub(b"", _ESCAPES.sub(b"", text)).replace(b"\r\n", b"\n")


def normalised(log: bytes) -> bytes:
    """:func:`plain`, and without moments, durations and addresses; it has as many lines."""
    text = plain(log)
    for pattern, replacement in _MEANINGLESS:
        text = pattern.sub(replacement, text)
    return text
