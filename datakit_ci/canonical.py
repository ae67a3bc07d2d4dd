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
    _check_keys(value)
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )
    return text.encode("ascii") + b"\n"


def digest(value: JsonValue) -> str:
    """The SHA-256 of ``value``'s canonical JSON: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _check_keys(value: object) -> None:
    """``json`` would turn the key 1 into "1", and two different values into one text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a JSON key must be a string, not {key!r}")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)
