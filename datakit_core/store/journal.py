"""The write-ahead journal as bytes, and what to do with them after a crash.

A batch of writes is acknowledged when its record in the journal is on disk. Git's own files are
written as well, but not synced, so a power cut may lose or tear them: until a checkpoint has
synced them all, the journal has everything that is needed to make them again.

A segment is a file: one line that names format and version, then records, then perhaps zeros that
were written ahead so that an append changes no metadata. A record is the length of its body (32
bits), the BLAKE2b digest of its body (16 bytes) and the body: the length of a JSON header (32
bits), the header, and the contents of the new objects, one after another. Integers are
big-endian. The header has ``objects``, a list of kind, id and length, and ``refs``, a list of
name, old and new target. A record that is not whole was never acknowledged, and ends the segment.

Pure: values to bytes and back, and decisions.
"""

from __future__ import annotations

import enum
import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from datakit_core.errors import RepositoryError
from datakit_core.store.objects import CommitId, NewObject, ObjectId, ObjectKind
from datakit_core.store.requests import RefUpdate, Write

__all__ = [
    "JOURNAL_HEADER",
    "Segment",
    "Torn",
    "decode_segment",
    "encode_record",
    "merge_records",
    "settled_target",
]

_FORMAT = b"datakit journal "
JOURNAL_HEADER = _FORMAT + b"1\n"
"""What every segment begins with."""

_PREFIX = struct.Struct(">I16s")
_LENGTH = struct.Struct(">I")


class Torn(enum.Enum):
    """Stands for the content of a ref's file that a power cut has left empty or damaged."""

    TORN = "torn"


@dataclass(frozen=True, slots=True)
class Segment:
    """What a file of the journal holds.

    Attributes:
        records: Its whole records, oldest first.
        torn: Whether something that is no record follows them.
    """

    records: tuple[Write, ...]
    torn: bool


def encode_record(write: Write) -> bytes:
    """The record of ``write``."""
    header = json.dumps(
        {
            "objects": [[new.kind.value, new.id, len(new.data)] for new in write.objects],
            "refs": [[update.name, update.old, update.new] for update in write.updates],
        },
        separators=(",", ":"),
    ).encode()
    body = b"".join((_LENGTH.pack(len(header)), header, *(new.data for new in write.objects)))
    return _PREFIX.pack(len(body), _digest(body)) + body


def decode_segment(data: bytes) -> Segment:
    """The records of a segment, up to the first that is not whole.

    Raises:
        RepositoryError: Another version has written it.
    """
    if not data.startswith(JOURNAL_HEADER):
        # A file of the length of the line is whole: the line is synced before any record.
        if data.startswith(_FORMAT) and b"\n" in data[:64]:
            version = data[len(_FORMAT) : data.index(b"\n")].decode(errors="replace")
            raise RepositoryError(
                f"the journal has format {version}; start the version of DataKit that wrote it, "
                "and stop it in good order"
            )
        return Segment((), torn=any(data))
    records: list[Write] = []
    position = len(JOURNAL_HEADER)
    while (body := _body_at(data, position)) is not None:
        records.append(_decode_body(body))
        position += _PREFIX.size + len(body)
    return Segment(tuple(records), torn=any(data[position:]))


def merge_records(
    records: Iterable[Write],
) -> tuple[dict[ObjectId, NewObject], dict[str, list[RefUpdate]]]:
    """All objects of ``records``, and the moves of each ref in order."""
    objects: dict[ObjectId, NewObject] = {}
    moves: dict[str, list[RefUpdate]] = {}
    for record in records:
        objects.update((new.id, new) for new in record.objects)
        for update in record.updates:
            moves.setdefault(update.name, []).append(update)
    return objects, moves


def settled_target(moves: Sequence[RefUpdate], found: CommitId | Torn | None) -> CommitId | None:
    """Where a ref belongs after ``moves`` were acknowledged, when ``found`` is on disk.

    Each move is made only from its recorded old value, so that what another program has done
    since stays. A file that is torn held one of the values that the journal knows.
    """
    if isinstance(found, Torn):
        return moves[-1].new
    target = found
    for move in moves:
        if target == move.old:
            target = move.new
    return target


def _body_at(data: bytes, position: int) -> bytes | None:
    if len(data) < position + _PREFIX.size:
        return None
    length, digest = _PREFIX.unpack_from(data, position)
    start = position + _PREFIX.size
    body = data[start : start + length]
    return body if length and len(body) == length and _digest(body) == digest else None


def _decode_body(body: bytes) -> Write:
    (length,) = _LENGTH.unpack_from(body)
    position = _LENGTH.size + length
    header: dict[str, list[Any]] = json.loads(body[_LENGTH.size : position])
    objects: list[NewObject] = []
    for kind, name, size in header["objects"]:
        data = body[position : position + size]
        objects.append(NewObject(ObjectKind(kind), ObjectId(name), data))
        position += size
    return Write(tuple(objects), tuple(RefUpdate(*update) for update in header["refs"]))


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
