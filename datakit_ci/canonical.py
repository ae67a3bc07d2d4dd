"""Canonical JSON: one text for one value, so that equal values have equal digests.

All JSON in the database is written by :func:`canonical_json`; ids of stages and keys of results
are digests of it, so it can never change for a value that it already accepts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = ["JsonValue", "canonical_json", "digest"]

JsonValue: TypeAlias = (
    bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
)
"""What JSON can say (RFC 8259)."""


def canonical_json(value: JsonValue) -> bytes:
    """Print ``value`` as JSON in UTF-8: sorted keys, no spaces, a newline at the end.

    Lone surrogates (a file name that is not UTF-8) stay escaped, so that they survive.

    Raises:
        ValueError: A number is infinite or not a number, which JSON cannot say.
        TypeError: Something in it is not JSON, or a key is not a string.
    """
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )
    _check_keys(value)
    return text.encode("ascii") + b"\n"


def digest(value: JsonValue) -> str:
    """The SHA-256 of ``value``'s canonical JSON: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _check_keys(value: object) -> None:
    """``json`` would turn the key 1 into "1", and two different values into one text.

    Called for what ``json`` has accepted: dictionaries, lists and tuples, and not in a circle.
    """
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            for key in each:
                if not isinstance(key, str):
                    raise TypeError(f"a JSON key must be a string, not {key!r}")
            left += each.values()
        elif isinstance(each, list | tuple):
            left += each
