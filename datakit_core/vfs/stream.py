"""Streams: files whose reads wait for something to happen.

A stream delivers lines at offsets that start at 0 for each open and only ever increase. Two
rules make it usable through any client:

* After each read that returned data, the next one returns nothing, at once. It flushes what the
  client holds back: the Linux kernel goes on asking until its buffer is full or it gets an empty
  answer, and a line would otherwise show up only with later ones. Two empty answers in a row
  would mean the end, and a stream never ends.
* A read takes a line from the source only in the moment in which it is answered. A read that is
  given up (Tflush, disconnect) has therefore taken nothing, and the next read gets the value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from datakit_core.errors import InvalidArgument
from datakit_core.vfs.answer import Answer, Deferred
from datakit_core.vfs.named import Named
from datakit_core.vfs.node import File, Handle, Kind, Stat

__all__ = ["Latest", "Live", "Source", "StreamFile", "StreamHandle"]


class Source(Protocol):
    """Where one open stream gets its lines from."""

    def next(self) -> bytes | None:
        """Take the next line, or none if there is nothing new; never an empty line."""
        ...

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever :meth:`next` may have something; called once, at the open."""
        ...

    def close(self) -> None:
        """The stream is closed: no ``wake`` any more."""
        ...


class Latest:
    """A source that keeps only the newest line and never repeats the one it gave last.

    Whoever falls behind is told the latest state, not every state, so memory is bounded however
    slow the reader is.
    """

    def __init__(
        self, first: bytes | None = None, on_close: Callable[[], None] | None = None
    ) -> None:
        """Begin with the line ``first``; tell ``on_close`` when the reader has gone."""
        self._newest = first
        self._given: bytes | None = None
        self._wake: Callable[[], None] | None = None
        self._on_close = on_close

    def publish(self, line: bytes) -> None:
        """Replace the line."""
        self._newest = line
        if self._wake is not None:
            self._wake()

    def next(self) -> bytes | None:
        """The newest line, unless it is the one given last."""
        if self._newest == self._given:
            return None
        self._given = self._newest
        return self._newest

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Remember whom to wake."""
        self._wake = wake

    def close(self) -> None:
        """Forget the reader."""
        self._wake = None
        if self._on_close is not None:
            self._on_close()


class Live:
    """One line that changes, shared by any number of readers: ``StreamFile(name, live.open)``."""

    def __init__(self, line: bytes | None = None) -> None:
        """Begin with ``line``, or with nothing to read."""
        self._line = line
        self._readers: dict[int, Latest] = {}

    @property
    def readers(self) -> int:
        """How many streams are open on it."""
        return len(self._readers)

    def publish(self, line: bytes) -> None:
        """Replace the line and answer whoever waits for it."""
        self._line = line
        for reader in tuple(self._readers.values()):
            reader.publish(line)

    def open(self) -> Source:
        """A source for one more reader."""
        reader = Latest(self._line, on_close=lambda: self._forget(key))
        key = id(reader)
        self._readers[key] = reader
        return reader

    def _forget(self, key: int) -> None:
        self._readers.pop(key, None)


class StreamFile(Named, File):
    """A file that is read as a stream; its length is 0 and it cannot be written."""

    def __init__(
        self, name: str, source: Callable[[], Source], *, inode: int | None = None
    ) -> None:
        """Ask ``source`` for a new source at each open."""
        super().__init__(name, inode=inode)
        self._source = source

    def stat(self) -> Answer[Stat]:
        """A normal file of length 0, which every kernel reads until it is told to stop."""
        return Stat(self.name, Kind.FILE, self.inode)

    def open(self) -> Answer[Handle]:
        """Start at offset 0."""
        return StreamHandle(self._source())


class StreamHandle(Handle):
    """One open stream.

    Several reads may wait at once: each is answered in turn as if it had come alone.
    """

    def __init__(self, source: Source) -> None:
        """Read from ``source``."""
        self._source = source
        self._offset = 0
        self._rest = b""
        self._flush_due = False
        self._waiting: OrderedDict[Deferred[bytes], int] = OrderedDict()
        source.subscribe(self._wake)

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """A line or its rest, an empty flush marker, or wait for the next line."""
        if offset != self._offset:
            raise InvalidArgument("Attempt to seek in stream")
        if count == 0:
            return b""
        data = None if self._waiting else self._take(count)
        return self._wait(count) if data is None else data

    def close(self) -> None:
        """Leave the source; who still waits for a read cancels it or waits for ever."""
        self._source.close()

    def _take(self, count: int) -> bytes | None:
        """What a read of ``count`` bytes returns now; none if it has to wait."""
        if self._flush_due:
            self._flush_due = False
            return b""
        line = self._rest or self._source.next()
        if line is None:
            return None
        data, self._rest = line[:count], line[count:]
        self._offset += len(data)
        self._flush_due = True
        return data

    def _wait(self, count: int) -> Deferred[bytes]:
        later: Deferred[bytes] = Deferred(on_cancel=lambda: self._forget(later))
        self._waiting[later] = count
        return later

    def _forget(self, later: Deferred[bytes]) -> None:
        del self._waiting[later]  # thousands may wait, and be given up in any order

    def _wake(self) -> None:
        while self._waiting:
            later, count = next(iter(self._waiting.items()))
            data = self._take(count)
            if data is None:
                return
            del self._waiting[later]
            later.resolve(data)
