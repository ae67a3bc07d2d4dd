"""What the writer is asked, and how it travels to the process that writes.

A frame is two 32-bit big-endian lengths, a JSON header of the first and a payload of the second:
the contents of new objects, one after another. It is private to the two ends of one socket pair
and changes at will. Pure: values to bytes and back.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from datakit_core.errors import (
    DatakitError,
    FileError,
    HeadMoved,
    InvalidArgument,
    InvalidName,
    IoFailed,
    NoSpace,
    RepositoryError,
    StoreError,
    TooLarge,
    UnknownObject,
)
from datakit_core.store.activity import JournalLength
from datakit_core.store.objects import CommitId, NewObject, ObjectId, ObjectKind

__all__ = [
    "LARGE",
    "Batch",
    "Bulk",
    "Frames",
    "ImportDirectory",
    "IsAncestor",
    "MergeBase",
    "RefUpdate",
    "Request",
    "Value",
    "Write",
    "decode_answer",
    "decode_request",
    "encode_answer",
    "encode_batch",
    "encode_journal_length",
    "encode_request",
]

_LENGTHS = struct.Struct(">II")

LARGE = 256 << 10
"""Bytes of new objects above which they are written ahead of a move, and synced by themselves."""


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """Move one ref, provided that it is where the caller saw it.

    Attributes:
        name: The full name of the ref.
        old: Where it must be; none means that it must not exist.
        new: Where it shall be; none deletes it.
    """

    name: str
    old: CommitId | None
    new: CommitId | None


@dataclass(frozen=True, slots=True)
class Write:
    """Store objects, then move refs; all of the refs or none.

    Attributes:
        objects: What is new; objects that are there already do no harm.
        updates: Refs to move once the objects are on disk.
    """

    objects: tuple[NewObject, ...]
    updates: tuple[RefUpdate, ...] = ()


@dataclass(frozen=True, slots=True)
class Bulk:
    """Store objects in great number or size, past the journal; a part of them at a time.

    Attributes:
        objects: The part.
        last: Whether this is the last part; then all of them are made durable.
    """

    objects: tuple[NewObject, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class MergeBase:
    """Find the best common ancestor of two commits."""

    one: CommitId
    other: CommitId


@dataclass(frozen=True, slots=True)
class IsAncestor:
    """Find whether ``descendant`` is ``ancestor``, or has it in its history."""

    ancestor: CommitId
    descendant: CommitId


@dataclass(frozen=True, slots=True)
class ImportDirectory:
    """Store what is in a directory of this machine, as a tree."""

    path: Path


Request: TypeAlias = Write | Bulk | MergeBase | IsAncestor | ImportDirectory


@dataclass(frozen=True, slots=True)
class Batch:
    """How many requests were carried out together, told before their answers.

    Attributes:
        requests: How many.
        nanoseconds: How long it took until all of it was on disk.
    """

    requests: int
    nanoseconds: int


Value: TypeAlias = str | bool | None
"""An answer: an id, or yes or no, or nothing to tell."""


def encode_request(request: Request) -> list[bytes]:
    """The frame for ``request``, in pieces that need not be joined."""
    match request:
        case Write(objects, updates):
            header = {
                "write": [[new.kind.value, new.id, len(new.data)] for new in objects],
                "refs": [[update.name, update.old, update.new] for update in updates],
            }
            return _frame(header, [new.data for new in objects])
        case Bulk(objects, last):
            header = {"bulk": [[new.kind.value, new.id, len(new.data)] for new in objects]}
            return _frame({**header, "last": last}, [new.data for new in objects])
        case MergeBase(one, other):
            return _frame({"base": [one, other]})
        case IsAncestor(ancestor, descendant):
            return _frame({"ancestor": [ancestor, descendant]})
        case ImportDirectory(path):
            return _frame({"import": str(path)})


def decode_request(frame: tuple[Any, memoryview]) -> Request:
    """The request in a frame; the frame is trusted, as our own process made it."""
    header, payload = frame
    match header:
        case {"write": objects, "refs": refs}:
            updates = tuple(RefUpdate(name, old, new) for name, old, new in refs)
            return Write(tuple(_objects(objects, payload)), updates)
        case {"bulk": objects, "last": bool() as last}:
            return Bulk(tuple(_objects(objects, payload)), last)
        case {"base": [one, other]}:
            return MergeBase(one, other)
        case {"ancestor": [ancestor, descendant]}:
            return IsAncestor(ancestor, descendant)
        case {"import": path}:
            return ImportDirectory(Path(path))
        case _:
            raise ValueError("an unknown request reached the writer")


def encode_answer(answer: Value | DatakitError) -> list[bytes]:
    """The frame that answers a request: a value, or the error to raise."""
    match answer:
        case HeadMoved():
            error = ["HeadMoved", answer.branch, answer.expected, answer.found]
        case FileError():
            error = [type(answer).__name__, answer.text]
        case DatakitError():
            error = [type(answer).__name__, str(answer)]
        case value:
            return _frame({"value": value})
    return _frame({"error": error})


def encode_batch(batch: Batch) -> list[bytes]:
    """The frame that tells of a batch."""
    return _frame({"batch": [batch.requests, batch.nanoseconds]})


def encode_journal_length(length: JournalLength) -> list[bytes]:
    """The frame that tells how long the journal is now."""
    return _frame({"journal": [length.size, length.records]})


def decode_answer(
    frame: tuple[Any, memoryview],
) -> Value | DatakitError | Batch | JournalLength:
    """The value or error in a frame, or what it tells of a batch or of the journal."""
    match frame[0]:
        case {"journal": [int() as size, int() as records]}:
            return JournalLength(size, records)
        case {"batch": [int() as requests, int() as nanoseconds]}:
            return Batch(requests, nanoseconds)
        case {"value": (str() | bool() | None) as value}:
            return value
        case {"error": ["HeadMoved", branch, expected, found]}:
            return HeadMoved(branch, expected, found)
        case {"error": [str() as name, str() as text]}:
            return _ERRORS.get(name, StoreError)(text)
        case _:
            return RepositoryError("the writer process answered with nonsense; restart DataKit")


@dataclass(slots=True)
class Frames:
    """Cuts a stream of bytes into frames, whatever the pieces in which they arrive."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[tuple[Any, memoryview]]:
        """Take ``data``; yields header and payload of every frame that is now whole."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._buffer)
            end = _LENGTHS.size + head + body
            if len(self._buffer) < end:
                return
            whole = bytes(memoryview(self._buffer)[_LENGTHS.size : end])
            del self._buffer[:end]
            yield json.loads(whole[:head]), memoryview(whole)[head:]


def _frame(header: object, payload: Sequence[bytes] = ()) -> list[bytes]:
    head = json.dumps(header, separators=(",", ":")).encode()
    return [_LENGTHS.pack(len(head), sum(map(len, payload))) + head, *payload]


def _objects(headers: list[Any], payload: memoryview) -> Iterator[NewObject]:
    position = 0
    for kind, name, length in headers:
        data = bytes(payload[position : position + length])
        yield NewObject(ObjectKind(kind), ObjectId(name), data)
        position += length


_ERRORS: dict[str, Callable[[str], DatakitError]] = {
    kind.__name__: kind
    for kind in (
        InvalidArgument, InvalidName, IoFailed, NoSpace, RepositoryError, StoreError, TooLarge,
        UnknownObject,
    )
}  # fmt: skip
