"""From the declaration of a record to functions that read and write it.

The annotations of a record's fields say how each looks on the wire. They are looked at once per
class and dialect; what remains for each message is a ``struct`` call for every run of numbers
and a function call for every field of variable length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from struct import Struct
from typing import Any, Generic, TypeAlias, TypeVar, get_type_hints

from datakit_core.errors import InvalidArgument, TooLarge
from datakit_core.ninep.messages import UNIX, Record
from datakit_core.ninep.wire import Fixed, Variable

__all__ = ["Layout"]

R = TypeVar("R", bound=Record)

_Reader: TypeAlias = Callable[[bytes, int, list[Any]], int]
"""(buffer, position, values read so far) -> position after the field."""
_Writer: TypeAlias = Callable[[Any], bytes]
"""record -> the bytes of one field or run of fields."""
_Field: TypeAlias = tuple[str, Fixed | Variable[Any]]

_SIZE = Struct("<H")


class Layout(Generic[R]):
    """How the fields of one record follow one another.

    Attributes:
        decode: (buffer, position) -> record. What follows the last field is ignored; fields of
            9P2000.u that are absent have their defaults.
        encode: record -> the bytes of its fields.
    """

    __slots__ = ("decode", "encode")

    def __init__(self, kind: type[R], *, unix: bool) -> None:
        """Look at the fields of ``kind``, with those marked UNIX if ``unix``."""
        required, tail = _fields(kind, unix=unix)
        self.decode: Callable[[bytes, int], R] = _decoder(kind, required, tail)
        self.encode: Callable[[R], bytes] = _encoder([*required, *tail])

    def decode_sized(self, buffer: bytes, at: int) -> tuple[R, int]:
        """Read a record with its 16-bit size in front (stat(5)), and the position after it."""
        (size,) = _SIZE.unpack_from(buffer, at)
        start, end = at + 2, at + 2 + size
        if end > len(buffer):
            raise InvalidArgument(f"a record of {size} bytes, of which {len(buffer) - start} came")
        return self.decode(buffer[start:end], 0), end

    def encode_sized(self, record: R) -> bytes:
        """The record with its 16-bit size in front.

        Raises:
            TooLarge: The size does not fit 16 bits.
        """
        body = self.encode(record)
        if len(body) > 0xFFFF:
            raise TooLarge(f"a record of {len(body)} bytes does not fit a 9P message")
        return _SIZE.pack(len(body)) + body


def _fields(kind: type[Record], *, unix: bool) -> tuple[list[_Field], list[_Field]]:
    """The fields that are always there, and those marked UNIX if ``unix``."""
    required: list[_Field] = []
    tail: list[_Field] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        shape, *marks = getattr(hint, "__metadata__", (None,))
        if shape is None:  # a class variable
            continue
        if isinstance(shape, type):
            shape = _nested(Layout(shape, unix=unix))
        if UNIX not in marks:
            required.append((name, shape))
        elif unix:
            tail.append((name, shape))
    return required, tail


def _nested(layout: Layout[R]) -> Variable[R]:
    """A record inside of a message has its size in front, and that its size again (stat(5))."""

    def read(buffer: bytes, at: int) -> tuple[R, int]:
        (size,) = _SIZE.unpack_from(buffer, at)
        record, _ = layout.decode_sized(buffer, at + 2)
        return record, at + 2 + size

    def write(record: R) -> bytes:
        sized = layout.encode_sized(record)
        return _SIZE.pack(len(sized)) + sized

    return Variable(read, write)


def _runs(fields: Sequence[_Field]) -> list[list[_Field]]:
    """Neighbouring numbers together, everything else alone."""
    runs: list[list[_Field]] = []
    for is_number, group in groupby(fields, lambda field: isinstance(field[1], Fixed)):
        run = list(group)
        runs += [run] if is_number else [[field] for field in run]
    return runs


def _struct(run: Sequence[_Field]) -> Struct | None:
    """The struct of a run of numbers; none for a field of variable length."""
    formats = [shape.format for _, shape in run if isinstance(shape, Fixed)]
    return Struct("<" + "".join(formats)) if formats else None


def _decoder(
    kind: type[R], required: Sequence[_Field], tail: Sequence[_Field]
) -> Callable[[bytes, int], R]:
    runs = _runs(required)
    if len(runs) == 1 and not tail and (numbers := _struct(runs[0])):
        unpack = numbers.unpack_from
        return lambda buffer, at: kind(*unpack(buffer, at))
    readers = [_reader(run) for run in runs]
    tail_readers = [_reader(run) for run in _runs(tail)]

    def decode(buffer: bytes, at: int) -> R:
        values: list[Any] = []
        for read in readers:
            at = read(buffer, at, values)
        for read in tail_readers:
            if at >= len(buffer):
                break
            at = read(buffer, at, values)
        return kind(*values)

    return decode


def _reader(run: Sequence[_Field]) -> _Reader:
    numbers = _struct(run)
    if numbers:
        unpack, size = numbers.unpack_from, numbers.size

        def read_numbers(buffer: bytes, at: int, values: list[Any]) -> int:
            values += unpack(buffer, at)
            return at + size

        return read_numbers
    _, shape = run[0]
    assert isinstance(shape, Variable)
    read = shape.read

    def read_variable(buffer: bytes, at: int, values: list[Any]) -> int:
        value, at = read(buffer, at)
        values.append(value)
        return at

    return read_variable


def _encoder(fields: Sequence[_Field]) -> _Writer:
    writers = [_writer(run) for run in _runs(fields)]
    if len(writers) == 1:
        return writers[0]
    return lambda record: b"".join([write(record) for write in writers])


def _writer(run: Sequence[_Field]) -> _Writer:
    get = attrgetter(*(name for name, _ in run))
    numbers = _struct(run)
    if numbers is None:
        _, shape = run[0]
        assert isinstance(shape, Variable)
        write = shape.write
        return lambda record: write(get(record))
    pack = numbers.pack
    if len(run) == 1:
        return lambda record: pack(get(record))
    return lambda record: pack(*get(record))
