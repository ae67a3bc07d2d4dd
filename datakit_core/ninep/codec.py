"""Bytes to messages and back.

A frame is ``size[4] type[1] tag[2]`` and the fields that :mod:`datakit_core.ninep.messages`
declares; ``size`` counts itself. :class:`Framer` cuts a stream of bytes into frames, and
:class:`Codec` knows every message of one dialect.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class

from datakit_core.errors import InvalidArgument, NotSupported, ProtocolError
from datakit_core.ninep.dialect import Dialect
from datakit_core.ninep.layout import Layout
from datakit_core.ninep.messages import Record, Rread, WireStat
from datakit_core.ninep.wire import Tag

__all__ = ["HEADER_SIZE", "READ_HEADER_SIZE", "Codec", "Framer", "codec_for", "tag_of"]

HEADER_SIZE = 7
"""``size[4] type[1] tag[2]``."""

READ_HEADER_SIZE = 11
"""What surrounds the data in an Rread: the header and ``count[4]``."""

_SIZE = Struct("<I")
_HEADER = Struct("<IBH")
_KIND_AND_TAG = Struct("<BH")
_READ_HEADER = Struct("<IBHI")


class Framer:
    """Cuts a stream of bytes into frames, whatever pieces it arrives in.

    Memory is bounded by one piece and one frame, and the work by the bytes received, also when
    they come one by one.

    Attributes:
        limit: The largest size that a frame may announce.
    """

    def __init__(self, limit: int) -> None:
        """Accept frames of at most ``limit`` bytes."""
        self.limit = limit
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE
        self._buffer = b""
        self._at = 0

    @property
    def waiting(self) -> bool:
        """Whether there are bytes that have not come out as a frame."""
        return self._have > 0 or self._at < len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; :meth:`frames` gives what they complete."""
        self._pieces.append(data)
        self._have += len(data)

    def frames(self) -> Iterator[bytes]:
        """The complete frames, each once; stopping early leaves the others for the next call.

        Raises:
            ProtocolError: A size is impossible, so nothing after it can be understood.
        """
        while True:
            left = len(self._buffer) - self._at
            if left < self._need and not self._refill(left):
                return
            (size,) = _SIZE.unpack_from(self._buffer, self._at)
            self._check(size)
            end = self._at + size
            if end > len(self._buffer):
                self._need = size
                continue
            frame = self._buffer[self._at : end]
            self._at, self._need = end, HEADER_SIZE
            yield frame

    def _refill(self, left: int) -> bool:
        """Join the pieces when they are enough for what is needed."""
        if not self._have or left + self._have < self._need:
            return False
        self._buffer = b"".join((self._buffer[self._at :], *self._pieces))
        self._at = self._have = 0
        self._pieces.clear()
        return True

    def _check(self, size: int) -> None:
        if not HEADER_SIZE <= size <= self.limit:
            raise ProtocolError(
                f"a message of {size} bytes; the least is {HEADER_SIZE}, the most {self.limit}"
            )


def tag_of(frame: bytes) -> Tag:
    """The tag of a frame, also of one that cannot be decoded."""
    return Tag(int.from_bytes(frame[5:7], "little"))


class Codec:
    """Reads and writes the messages of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        """Work out the layout of every message of ``dialect``."""
        unix = dialect.unix_fields
        self._stats = Layout(WireStat, unix=unix)
        layouts = {kind: Layout(kind, unix=unix) for kind in dialect.messages.values()}
        self._decoders = {kind.number: layout.decode for kind, layout in layouts.items()}
        self._encoders = {kind: layout.encode for kind, layout in layouts.items()}

    def decode(self, frame: bytes) -> tuple[Tag, Record]:
        """Read one frame.

        Bytes after the last field are ignored, and absent fields of 9P2000.u have their
        defaults: clients exist that negotiate it and leave them out.

        Raises:
            NotSupported: The dialect has no such message.
            InvalidArgument: The frame is too short for its fields.
        """
        number, tag = _KIND_AND_TAG.unpack_from(frame, 4)
        decoder = self._decoders.get(number)
        if decoder is None:
            raise NotSupported(f"unknown packet type {number}")
        try:
            return tag, decoder(frame, HEADER_SIZE)
        except StructError:
            raise InvalidArgument(
                f"message too short: type {number} with {len(frame)} bytes"
            ) from None

    def encode(self, tag: Tag, message: Record) -> bytes:
        """The frame for ``message``, which must be one of the dialect.

        Raises:
            TooLarge: A string is longer than its 16-bit length can tell.
            InvalidArgument: A number is negative or does not fit its field.
        """
        if type(message) is Rread:  # by far the most bytes; spares them a copy
            data = message.data
            size = len(data)
            return _READ_HEADER.pack(READ_HEADER_SIZE + size, Rread.number, tag, size) + data
        try:
            body = self._encoders[type(message)](message)
        except StructError as error:
            raise InvalidArgument(f"{message}: {error}") from None
        return _HEADER.pack(HEADER_SIZE + len(body), message.number, tag) + body

    def encode_stat(self, stat: WireStat) -> bytes:
        """A stat with its size in front, as in the content of a directory."""
        return self._stats.encode_sized(stat)

    def decode_stats(self, data: bytes) -> Iterator[WireStat]:
        """The stats in the content of a directory.

        Raises:
            InvalidArgument: The last one is cut off.
        """
        at = 0
        try:
            while at < len(data):
                stat, at = self._stats.decode_sized(data, at)
                yield stat
        except StructError:
            raise InvalidArgument("a directory entry is cut off") from None


@functools.cache
def codec_for(dialect: Dialect) -> Codec:
    """The codec of a dialect; there is one for all connections."""
    return Codec(dialect)
