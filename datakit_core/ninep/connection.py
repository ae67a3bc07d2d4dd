"""One client of the server: bytes to the session and back.

A connection is a protocol object. It answers all complete frames of what it received in the
callback and writes all the replies at once: that is several times as fast as a task for each
request. Only coroutines of nodes become tasks, in a group that ends with the connection.

What a client can make the server hold is bounded: reading stops while the client does not take
its replies, and while many of its coroutines are under way. A connection that sends thousands
of requests at once gives way to the others after each batch.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from datakit_core.budget import Budget
from datakit_core.errors import ProtocolError
from datakit_core.ninep.endpoint import Endpoint
from datakit_core.ninep.listening import describe_peer, holder_of
from datakit_core.ninep.session import Limits, Session, Work
from datakit_core.ninep.traffic import Late, Traffic
from datakit_core.vfs.node import Directory

__all__ = ["Connection", "ConnectionInfo", "ConnectionLimits", "Root", "RootFactory"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may use, and how long it may take.

    Attributes:
        session: Limits on messages, fids and waiting requests.
        max_connections: Clients at a time, of a server; a further one is turned away.
        memory: Bytes that a connection may make the server hold, roughly: edits, fids, requests
            that wait.
        server_memory: The same for all of them together.
        max_running: Coroutines at a time; the connection is not read while there are more.
        max_unsent: Bytes of replies that the client has not taken, or that will come soon; as
            ``max_running``.
        batch: Frames that are answered before other connections have their turn.
        handshake: Seconds until a new connection must have attached.
        tls_handshake: Seconds that a TLS handshake may take.
        grace: Seconds in which a connection that is being closed must take its last replies.
    """

    session: Limits = field(default_factory=Limits)
    max_connections: int = 1024
    memory: int = 512 << 20
    server_memory: int = 2 << 30
    max_running: int = 64
    max_unsent: int = 1 << 18
    batch: int = 256
    handshake: float = 30.0
    tls_handshake: float = 10.0
    grace: float = 2.0


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Who has connected.

    Attributes:
        number: Counts the connections of a server from 1.
        endpoint: Where the server was listening.
        peer: The other end, for people: an address, or process and user.
        local: Whether the kernel says that it is a process of our own user, or of root.
        budget: Where what it makes the server hold is taken from.
    """

    number: int
    endpoint: Endpoint
    peer: str
    local: bool = False
    budget: Budget = field(default_factory=lambda: Budget(1 << 62))

    def __str__(self) -> str:
        """For the log."""
        return f"connection {self.number} ({self.peer} on {self.endpoint})"


Root: TypeAlias = (
    Directory | AbstractContextManager[Directory] | AbstractAsyncContextManager[Directory]
)
"""What a connection sees, or a context manager that makes it and later frees what it holds."""

RootFactory: TypeAlias = Callable[[ConnectionInfo], Root]


class Connection(asyncio.Protocol):
    """The protocol object of one connection; :meth:`run` is its life."""

    def __init__(
        self,
        endpoint: Endpoint,
        root: RootFactory,
        limits: ConnectionLimits,
        opened: Callable[[Connection], int | None],
        traffic: Traffic,
        budget: Budget,
    ) -> None:
        """Serve what ``root`` makes.

        Args:
            endpoint: Where the client has connected.
            root: Makes what it sees.
            limits: What it may use.
            opened: Runs the connection, and gives its number; none if there are too many.
            traffic: Where to count.
            budget: What it may make the server hold.
        """
        self._budget = budget
        self._endpoint = endpoint
        self._root = root
        self._limits = limits
        self._opened = opened
        self._traffic = traffic
        self._late = Late(traffic)
        self._transport: asyncio.Transport
        self._session: Session
        self._group: asyncio.TaskGroup
        self._info: ConnectionInfo
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent: list[bytes] = []
        self._scheduled = False
        self._serving = False
        self._client_is_slow = False
        self._held_back = False
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def fids(self) -> int:
        """How many fids the client has bound."""
        return self._session.fids if self._serving else 0

    @property
    def waiting(self) -> int:
        """How many of its requests have no reply so far."""
        return self._session.waiting if self._serving else 0

    async def run(self) -> None:
        """Serve until the connection ends; every failure is logged and ends only this one."""
        try:
            async with AsyncExitStack() as stack:
                await self._serve(await self._enter_root(stack))
        except Exception:
            logger.exception("%s failed", self._info)
        finally:
            self._transport.abort()
            self._budget.close()
            logger.info("%s closed", self._info)

    def stop(self) -> None:
        """Send what is to be sent, and close; soon also if the client does not take it."""
        self._flush()
        self._transport.close()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(
                self._limits.grace, self._transport.abort
            )

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; reading begins when :meth:`run` has a root."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(high=self._limits.max_unsent)
        connection: socket.socket = transport.get_extra_info("socket")
        try:
            peer = describe_peer(connection)
        except OSError as error:
            logger.warning("refused a connection on %s: %s", self._endpoint, error)
            self._transport.abort()
            return
        number = self._opened(self)
        if number is None:
            self._transport.abort()
            return
        holder = holder_of(transport.get_extra_info("peercert"))
        self._info = ConnectionInfo(
            number,
            self._endpoint,
            f"{holder} at {peer}" if holder else peer,
            local=connection.family == socket.AF_UNIX,  # describe_peer has looked at the user
            budget=self._budget,
        )
        logger.info("%s opened", self._info)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._traffic.bytes_in += len(data)
        self._session.framer.feed(data)
        self._answer()

    def pause_writing(self) -> None:
        """The client does not take its replies."""
        self._client_is_slow = True

    def resume_writing(self) -> None:
        """It does again."""
        self._client_is_slow = False
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, whoever ended it."""
        self._unsent.clear()
        if self._deadline is not None:
            self._deadline.cancel()  # it would keep everything of the connection until then
        self._ended.set()

    # Life.

    async def _enter_root(self, stack: AsyncExitStack) -> Directory:
        root = self._root(self._info)
        if isinstance(root, Directory):
            return root
        if isinstance(root, AbstractContextManager):
            return stack.enter_context(root)
        return await stack.enter_async_context(root)

    async def _serve(self, root: Directory) -> None:
        self._session = Session(
            root,
            self._send,
            self._limits.session,
            read_only=self._endpoint.read_only,
            budget=self._budget,
        )
        self._serving = True
        timer = asyncio.get_running_loop().call_later(
            self._limits.handshake, self._end_unless_attached
        )
        try:
            async with asyncio.TaskGroup() as self._group:
                self._transport.resume_reading()
                await self._ended.wait()
                for task in self._tasks:
                    task.cancel()
        finally:
            timer.cancel()
            self._session.end()
            self._serving = False
            del self._session, self._group

    def _end_unless_attached(self) -> None:
        if not self._session.attached:
            logger.warning("%s did not attach in time", self._info)
            self._transport.abort()

    # Requests and replies.

    def _answer(self) -> None:
        """Answer a batch of complete frames, and see whether to read on."""
        self._scheduled = False
        if self._transport.is_closing():
            return
        start, answered = time.perf_counter_ns(), list[int]()
        try:
            more = self._blocked or self._answer_batch(start, answered)
        except ProtocolError as error:
            logger.warning("%s broke the protocol: %s", self._info, error)
            self._traffic.broken += 1
            self.stop()
            return
        self._flush()
        if answered:
            self._traffic.add_batch(answered, time.perf_counter_ns() - start)
        self._held_back = more or self._blocked
        if self._held_back:
            self._transport.pause_reading()
            self._schedule()
        else:
            self._transport.resume_reading()

    def _answer_batch(self, start: int, kinds: list[int]) -> bool:
        """Answer frames until none is left (false), or it is enough for now (true).

        The types of those that are answered at once are added to ``kinds``.

        Here every nanosecond is one for each request: names are looked up before the loop.
        """
        receive, unsent, late = self._session.receive, self._unsent, self._late
        answered, failed = self._traffic.answered, self._traffic.failed
        left, room, control = self._limits.batch, self._limits.max_unsent, Late.CONTROL
        for frame in self._session.framer.frames():
            answer = receive(frame)
            kind = frame[4]
            if type(answer) is bytes:
                answered[kind] += 1
                if answer[4] != kind + 1:
                    failed[kind] += 1
                unsent.append(answer)
                kinds.append(kind)
                room -= len(answer)
            elif answer is not None:
                late.add(frame, start)
                self._start(cast("Work", answer))
            else:
                late.add(frame, None)
                if self._blocked:
                    return True
            if kind in control:
                late.control(frame)
            left -= 1
            if not left or room < 0 or len(self._tasks) >= self._limits.max_running:
                return True
        return False

    @property
    def _blocked(self) -> bool:
        """Whether something else has to happen before the next request."""
        return (
            self._client_is_slow
            or len(self._tasks) >= self._limits.max_running
            or self._session.promised > self._limits.max_unsent
        )

    def _schedule(self) -> None:
        """Go on when the others have had their turn."""
        if not self._scheduled and not self._blocked:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._answer)

    def _start(self, work: Work) -> None:
        task = self._group.create_task(self._run(work))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            work.coroutine.close()  # matters if the task was cancelled before it began
            self._schedule()

        task.add_done_callback(done)

    async def _run(self, work: Work) -> None:
        try:
            value = await work.coroutine
        except Exception as error:  # noqa: BLE001 - the session answers with it, or logs it
            self._session.fail(work, error)
        else:
            self._session.finish(work, value)

    def _send(self, frame: bytes) -> None:
        """Send a late reply, together with others that come in the same turn of the loop."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(frame)
        self._late.sent(frame, time.perf_counter_ns())
        if self._held_back:
            self._schedule()

    def _flush(self) -> None:
        if self._unsent and not self._transport.is_closing():
            data = b"".join(self._unsent)
            self._traffic.bytes_out += len(data)
            self._transport.write(data)
        self._unsent.clear()
