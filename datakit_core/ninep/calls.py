"""The client's end of a connection: requests out, replies in, matched by tag.

A call that is cancelled sends Tflush and is forgotten; its tag stays taken until Rflush has come,
since only then no late reply can be mistaken for another one's (flush(5)).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

from datakit_core.errors import ClientError, Disconnected, ProtocolError, from_wire
from datakit_core.ninep.codec import Framer, codec_for
from datakit_core.ninep.dialect import PLAIN, Dialect
from datakit_core.ninep.messages import Record, Rerror, Rflush, Tflush, Tversion
from datakit_core.ninep.silence import end_when_silent
from datakit_core.ninep.wire import NO_TAG, Tag

__all__ = ["Abandoned", "Calls", "Given"]

R = TypeVar("R", bound=Record)

Given: TypeAlias = Callable[[Record | Exception], None]
"""Takes the reply to a request, or the error that ended the connection."""


Abandoned: TypeAlias = Callable[[Record | Exception | None], None]
"""Takes the reply to a cancelled call, if one came, when the server has forgotten the call."""


class _Call:
    """A request whose tag is taken.

    Attributes:
        give: Takes the reply.
        flushed: A Tflush for it is under way, so the reply frees nothing.
    """

    __slots__ = ("flushed", "give")

    def __init__(self, give: Given) -> None:
        self.give = give
        self.flushed = False


class Calls(asyncio.Protocol):
    """A connection to a server."""

    def __init__(self, limit: int) -> None:
        """Accept messages of at most ``limit`` bytes."""
        self._framer = Framer(limit)
        self._codec = codec_for(PLAIN)
        self._transport: asyncio.Transport
        self._calls: dict[Tag, _Call] = {}
        self._free: list[Tag] = []
        self._next = 0
        self._lost: Exception | None = None
        self._ended = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def speak(self, dialect: Dialect, limit: int) -> None:
        """Go on in the dialect and with the message size that were agreed on."""
        self._codec = codec_for(dialect)
        self._framer.limit = limit

    @property
    def outstanding(self) -> int:
        """How many tags are taken."""
        return len(self._calls)

    async def call(
        self,
        request: Record,
        expected: type[R],
        abandoned: Abandoned | None = None,
    ) -> R:
        """Send a request and wait for its reply.

        Args:
            request: The T-message.
            expected: The class of the reply.
            abandoned: If the call is cancelled, this is called when the server has forgotten
                it, with the reply if one came all the same.

        Raises:
            DatakitError: The server answered with an error.
            Disconnected: There is no connection any more.
        """
        await self._writable.wait()
        arrived = asyncio.Event()
        replies: list[Record | Exception] = []

        def give(reply: Record | Exception) -> None:
            replies.append(reply)
            arrived.set()

        tag = self.post(request, give)
        try:
            await arrived.wait()
        except asyncio.CancelledError:
            self._abandon(tag, replies, abandoned or _ignore)
            raise
        return self._checked(replies[0], expected)

    def post(self, request: Record, give: Given) -> Tag:
        """Send a request without waiting; ``give`` gets the reply."""
        if self._lost is not None:
            raise Disconnected(str(self._lost)) from self._lost
        tag = NO_TAG if type(request) is Tversion else self._take_tag()
        try:
            frame = self._codec.encode(tag, request)
        except BaseException:
            self._free.append(tag)
            raise
        self._calls[tag] = _Call(give)
        self._transport.write(frame)
        return tag

    def end_when_silent(self, seconds: float) -> None:
        """End the connection after so long without any sign of the server's machine."""
        end_when_silent(self._transport.get_extra_info("socket"), seconds)

    async def close(self) -> None:
        """Close the connection; whatever still waits raises Disconnected."""
        self._transport.close()
        await self._ended.wait()

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._framer.feed(data)
        try:
            for frame in self._framer.frames():
                self._received(*self._codec.decode(frame))
        except Exception as error:  # noqa: BLE001 - after a broken frame nothing can be trusted
            self._fail(error)
            self._transport.abort()

    def pause_writing(self) -> None:
        """The server does not take our requests."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, whoever ended it."""
        ended = Disconnected("the connection to the server has ended")
        ended.__cause__ = exc  # reset or closed is one to whoever waits
        self._fail(ended)
        self._ended.set()

    # Tags.

    def _take_tag(self) -> Tag:
        if self._free:
            return self._free.pop()
        if self._next == NO_TAG:
            raise ClientError("too many requests at once: all 65535 tags are taken")
        self._next += 1
        return Tag(self._next - 1)

    def _release(self, tag: Tag) -> None:
        del self._calls[tag]
        if tag != NO_TAG:
            self._free.append(tag)

    def _received(self, tag: Tag, reply: Record) -> None:
        call = self._calls.get(tag)
        if call is None:
            raise ProtocolError(f"the server answered tag {tag}, which nobody uses: {reply}")
        if not call.flushed:
            self._release(tag)
        call.give(reply)

    def _abandon(self, tag: Tag, replies: list[Record | Exception], abandoned: Abandoned) -> None:
        """Flush a request whose caller is gone."""
        if replies:  # the reply and the cancellation have met
            abandoned(replies[0])
            return

        def flushed(reply: Record | Exception) -> None:
            if isinstance(reply, Rflush):
                self._release(tag)
            abandoned(replies[0] if replies else None)

        self._calls[tag].flushed = True
        self.post(Tflush(tag), flushed)

    def _fail(self, error: Exception) -> None:
        """Tell everybody who waits that nothing will come."""
        if self._lost is None:
            self._lost = error
        self._writable.set()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.give(Disconnected(str(error)))

    @staticmethod
    def _checked(reply: Record | Exception, expected: type[R]) -> R:
        if isinstance(reply, expected):
            return reply
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Rerror):
            raise from_wire(reply.ename, reply.errno)
        raise ProtocolError(f"expected {expected.__name__}, the server answered {reply}")


def _ignore(reply: object) -> None:
    """Nothing is left behind."""
