"""The fields of 9P messages: little-endian integers, counted strings, data, qids (intro(5)).

Each kind of field is a value that tells how to read and write it. A :class:`Fixed` field has a
size known beforehand, so that neighbours can be packed together; a :class:`Variable` one carries
its own length. Reading never goes beyond the buffer, which holds exactly one frame.

Names are Git's: ``str`` with surrogateescape, so that bytes which are no UTF-8 survive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Generic, NamedTuple, NewType, TypeVar

from datakit_core.errors import InvalidArgument, TooLarge

__all__ = [
    "DATA",
    "NO_FID",
    "NO_TAG",
    "NO_UID",
    "QID",
    "QIDS",
    "STRING",
    "STRINGS",
    "U8",
    "U16",
    "U32",
    "U64",
    "Fid",
    "Fixed",
    "Qid",
    "Tag",
    "Variable",
]

T = TypeVar("T")

Fid = NewType("Fid", int)
"""A client's name for a file, 32 bits."""
Tag = NewType("Tag", int)
"""A client's name for a request, 16 bits."""

NO_TAG = Tag(0xFFFF)
"""The tag of Tversion."""
NO_FID = Fid(0xFFFFFFFF)
"""``afid`` of a Tattach without authentication."""
NO_UID = 0xFFFFFFFF
"""``n_uname`` of a Tattach that gives a user name only."""

_COUNT16 = Struct("<H")
_COUNT32 = Struct("<I")
_QID = Struct("<BIQ")


class Qid(NamedTuple):
    """The server's name for a file (stat(5)).

    Attributes:
        type: 0x80 for a directory, 0 for anything else.
        version: 0 while the content may change.
        path: Unique among the files of a server.
    """

    type: int
    version: int
    path: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """A number whose size is known; ``format`` is its letter in :mod:`struct`."""

    format: str


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """A field that tells its own length.

    Attributes:
        read: (buffer, position) -> (value, position after it); InvalidArgument when too short.
        write: value -> bytes.
    """

    read: Callable[[bytes, int], tuple[T, int]]
    write: Callable[[T], bytes]


def _take(buffer: bytes, start: int, length: int) -> bytes:
    data = buffer[start : start + length]
    if len(data) < length:
        raise InvalidArgument(f"message too short: {length} bytes announced, {len(data)} present")
    return data


def _read_string(buffer: bytes, at: int) -> tuple[str, int]:
    (length,) = _COUNT16.unpack_from(buffer, at)
    start = at + 2
    return _take(buffer, start, length).decode(errors="surrogateescape"), start + length


def _write_string(text: str) -> bytes:
    raw = text.encode(errors="surrogateescape")
    if len(raw) > 0xFFFF:
        raise TooLarge(f"a string of {len(raw)} bytes does not fit a 9P message")
    return _COUNT16.pack(len(raw)) + raw


def _read_strings(buffer: bytes, at: int) -> tuple[tuple[str, ...], int]:
    (count,) = _COUNT16.unpack_from(buffer, at)
    at += 2
    found = []
    for _ in range(count):
        text, at = _read_string(buffer, at)
        found.append(text)
    return tuple(found), at


def _write_strings(texts: tuple[str, ...]) -> bytes:
    return _COUNT16.pack(len(texts)) + b"".join(map(_write_string, texts))


def _read_data(buffer: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _COUNT32.unpack_from(buffer, at)
    start = at + 4
    return _take(buffer, start, length), start + length


def _write_data(data: bytes) -> bytes:
    return _COUNT32.pack(len(data)) + data


def _read_qid(buffer: bytes, at: int) -> tuple[Qid, int]:
    return Qid._make(_QID.unpack_from(buffer, at)), at + _QID.size


def _write_qid(qid: Qid) -> bytes:
    return _QID.pack(*qid)


def _read_qids(buffer: bytes, at: int) -> tuple[tuple[Qid, ...], int]:
    (count,) = _COUNT16.unpack_from(buffer, at)
    end = at + 2 + count * _QID.size
    raw = _take(buffer, at + 2, count * _QID.size)
    return tuple(map(Qid._make, _QID.iter_unpack(raw))), end


def _write_qids(qids: tuple[Qid, ...]) -> bytes:
    return _COUNT16.pack(len(qids)) + b"".join(map(_write_qid, qids))


U8 = Fixed("B")
U16 = Fixed("H")
U32 = Fixed("I")
U64 = Fixed("Q")
STRING = Variable(_read_string, _write_string)
"""A 16-bit length and UTF-8."""
STRINGS = Variable(_read_strings, _write_strings)
"""A 16-bit count and as many strings."""
DATA = Variable(_read_data, _write_data)
"""A 32-bit length and bytes."""
QID = Variable(_read_qid, _write_qid)
"""Type, version and path: 13 bytes."""
QIDS = Variable(_read_qids, _write_qids)
"""A 16-bit count and as many qids."""
