"""One client's session: from its frames to the replies, without sockets, clock or tasks.

The shell passes every frame to :meth:`Session.receive`. Most are answered on the spot: the
return value is the reply's frame. What a node answers later is kept here by tag:

* a Deferred is somebody else's record of a waiter; when its value comes, the reply goes out
  through the ``send`` function;
* a coroutine is handed to the shell as :class:`Work`, which the shell runs and then reports to
  :meth:`Session.finish` or :meth:`Session.fail`.

Phases (version(5), attach(5))::

    NEW ──Tversion──> AGREED ──Tattach──> ATTACHED
     ^                  ^                     │
     └─ unknown version ┴────── Tversion ─────┘   forgets all fids and requests

Flush (flush(5)): after Rflush the old tag is free, so nothing may be sent for it any more, and
nothing that it does may still be under way. A waiting Deferred is cancelled and Rflush goes out
at once. A coroutine, which may be a commit half done, is waited for, and its reply suppressed.
The reply to a flushed request is never sent before the Rflush, though 9P would allow it: a
Linux process that was killed while it read would then stay unkillable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from datakit_core.budget import Budget
from datakit_core.errors import (
    DatakitError,
    FileError,
    InvalidArgument,
    IoFailed,
    NoMemory,
    NotSupported,
    ProtocolError,
    TooLarge,
    TooMany,
    to_file_error,
)
from datakit_core.ninep.codec import Framer, codec_for, tag_of
from datakit_core.ninep.dialect import LINUX, PLAIN, UNKNOWN_VERSION, negotiate
from datakit_core.ninep.linux_operations import LinuxOperations
from datakit_core.ninep.messages import (
    Record,
    Rflush,
    Rversion,
    Tattach,
    Tauth,
    Tflush,
    Tversion,
)
from datakit_core.ninep.operations import Handlers, Later, Operations, Outcome
from datakit_core.ninep.wire import Tag
from datakit_core.vfs.answer import Deferred
from datakit_core.vfs.node import Directory

__all__ = ["Limits", "Session", "Work"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may use.

    Attributes:
        max_msize: The longest message in bytes; clients that ask for more get this. The 24 bytes
            are what Linux adds to a power of two for the headers.
        min_msize: A client that can take less is refused: errors and stats must fit.
        first_frame: The longest message before Tversion.
        max_fids: Fids at a time.
        max_waiting: Requests at a time that wait for something to happen.
    """

    max_msize: int = (1 << 20) + 24
    min_msize: int = 256
    first_frame: int = 1 << 17
    max_fids: int = 1 << 16
    max_waiting: int = 1 << 14


_WAITING = 1000
"""Bytes of memory that a request takes which waits, roughly."""


def _nowhere(_: bytes) -> None:
    """The connection has ended."""


class _Pending:
    """A request without a reply so far.

    Attributes:
        tag: Its tag.
        later: What its reply waits for.
        flushes: Tags of the Tflushes that wait for its end, in order.
        abandoned: The session has begun anew; nobody waits for the reply.
    """

    __slots__ = ("abandoned", "flushes", "later", "tag")

    def __init__(self, tag: Tag, later: Later[Any]) -> None:
        self.tag = tag
        self.later = later
        self.flushes: list[Tag] = []
        self.abandoned = False


class _Waiting(_Pending):
    """A request that waits for a Deferred."""

    __slots__ = ("answer",)

    def __init__(self, tag: Tag, later: Later[Any], answer: Deferred[Any]) -> None:
        super().__init__(tag, later)
        self.answer = answer

    def give_up(self) -> None:
        """Stop waiting, and leave nothing behind."""
        self.answer.cancel()
        self.later.drop(None)
        if self.later.fid is not None:
            self.later.fid.waiting.pop(self.tag, None)


class Work(_Pending):
    """A coroutine for the shell to run.

    Attributes:
        coroutine: It; its result goes to :meth:`Session.finish`, its error to
            :meth:`Session.fail`.
    """

    __slots__ = ("coroutine",)

    def __init__(self, tag: Tag, later: Later[Any], coroutine: Coroutine[Any, Any, Any]) -> None:
        """Answer ``tag`` with what ``coroutine`` returns."""
        super().__init__(tag, later)
        self.coroutine = coroutine


class Session:
    """The state of one connection.

    Attributes:
        framer: Cuts the received bytes into the frames for :meth:`receive`.
        attached: Whether a Tattach has succeeded since the last Tversion.
        promised: Bytes of replies that will come without anything else having to happen.
    """

    def __init__(
        self,
        root: Directory,
        send: Callable[[bytes], None],
        limits: Limits | None = None,
        *,
        read_only: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """Serve ``root``; send frames that answer earlier requests with ``send``.

        Args:
            root: What is served.
            send: Sends a frame.
            limits: What the connection may use.
            read_only: Whether changes are refused.
            budget: Where its memory is taken from.
        """
        self._budget = budget or Budget(1 << 62)
        self._root = root
        self._read_only = read_only
        self._send = send
        self._debug = logger.isEnabledFor(logging.DEBUG)
        self._limits = limits or Limits()
        self._pending: dict[Tag, _Pending] = {}
        self._operations: Operations | None = None
        self._msize = self._limits.first_frame
        self._codec = codec_for(PLAIN)
        self._dialect = PLAIN
        self._handlers: Handlers = {Tversion: self._version}
        self.framer = Framer(self._limits.first_frame)
        self.attached = False
        self.promised = 0

    @property
    def fids(self) -> int:
        """How many fids are bound."""
        return len(self._operations.fids) if self._operations else 0

    @property
    def waiting(self) -> int:
        """How many tags are in use."""
        return len(self._pending)

    def receive(self, frame: bytes) -> bytes | Work | None:
        """Answer one frame.

        Returns:
            The reply's frame; or work for the shell; or nothing, as the reply comes later.

        Raises:
            ProtocolError: The client broke the protocol so that it cannot go on. What has been
                sent before should still reach it.
        """
        try:
            tag, request = self._codec.decode(frame)
        except DatakitError as error:
            tag = tag_of(frame)
            self._check_free(tag)
            return self._error(tag, error)
        self._check_free(tag)
        if self._debug:
            logger.debug("tag %d: %s", tag, request)
        try:
            return self._answer(tag, request)
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - a request fails, the connection lives
            return self._error(tag, error)

    def finish(self, work: Work, value: object) -> None:
        """The coroutine has returned ``value``."""
        if work.abandoned or work.flushes:
            work.later.drop(value)
            self._forget(work)
        else:
            self._forget(work)
            self._send(self._settle(work.tag, work.later, value))

    def fail(self, work: Work, error: Exception) -> None:
        """The coroutine has raised ``error``."""
        work.later.drop(None)
        if self._forget(work):
            self._send(self._error(work.tag, error))

    def close(self) -> None:
        """The connection has ended: forget all requests and release all fids."""
        for pending in self._pending.values():
            pending.abandoned = True
            if isinstance(pending, _Waiting):
                pending.give_up()
                self._budget.give(_WAITING)
        self._pending.clear()
        self.promised = 0
        if self._operations is not None:
            self._operations.fids.clear()
        self._operations = None
        self._handlers = {Tversion: self._version}
        self.attached = False

    def end(self) -> None:
        """As :meth:`close`, and for good: nothing refers to the session any more."""
        self.close()
        self._handlers = {}
        self._send = _nowhere

    def _check_free(self, tag: Tag) -> None:
        if tag in self._pending:
            raise ProtocolError(f"tag {tag} is used again before its reply")

    def _answer(self, tag: Tag, request: Record) -> bytes | Work | None:
        handler = self._handlers.get(type(request))
        if handler is None:
            return self._unexpected(tag, request)
        outcome = handler(request)
        if type(outcome) is Later:
            return self._keep(tag, outcome)
        return self._encode(tag, outcome)

    def _unexpected(self, tag: Tag, request: Record) -> bytes | None:
        """A request that the session is not ready for, or that is none."""
        if type(request) is Tflush:
            return self._flush(tag, request.oldtag)
        if self._operations is None:
            self._send(self._error(tag, InvalidArgument("Expected Version message")))
            raise ProtocolError("the first message is not Tversion")
        if not self.attached:
            raise InvalidArgument("Expected Attach message")
        raise NotSupported(f"unknown packet type {request.number}")

    def _version(self, request: Tversion) -> Outcome:
        """Agree on dialect and message size, and forget what was before (version(5))."""
        dialect = negotiate(request.version)
        if request.msize < self._limits.min_msize:
            least = self._limits.min_msize
            raise InvalidArgument(f"msize {request.msize} is too small; the least is {least}")
        self.close()
        self._msize = min(request.msize, self._limits.max_msize)
        self.framer.limit = self._msize
        if dialect is None:
            self._handlers = {Tversion: self._version}
            return Rversion(self._msize, UNKNOWN_VERSION)
        self._dialect, self._codec = dialect, codec_for(dialect)
        kind = LinuxOperations if dialect is LINUX else Operations
        self._operations = kind(
            self._root,
            self._codec,
            self._msize,
            self._limits.max_fids,
            read_only=self._read_only,
            budget=self._budget,
        )
        self._handlers = {
            Tversion: self._version,
            Tauth: self._operations.auth,
            Tattach: self._attach,
        }
        return Rversion(self._msize, dialect.version)

    def _attach(self, request: Tattach) -> Outcome:
        """Bind the root; after the first attach everything is allowed."""
        operations = self._operations
        assert operations is not None
        reply = operations.attach(request)
        if not self.attached:
            self.attached = True
            self._handlers |= operations.handlers
        return reply

    def _flush(self, tag: Tag, oldtag: Tag) -> bytes | None:
        """Give up a request; one that is not there has been answered already."""
        pending = self._pending.get(oldtag)
        if isinstance(pending, Work):
            pending.flushes.append(tag)
            self._pending[tag] = pending
            return None
        if isinstance(pending, _Waiting):
            pending.give_up()
            self._forget(pending)
        return self._encode(tag, Rflush())

    def _keep(self, tag: Tag, later: Later[Any]) -> bytes | Work | None:
        """Remember a request until its answer comes."""
        answer = later.answer
        if isinstance(answer, Coroutine):
            work = Work(tag, later, answer)
            self._pending[tag] = work
            return work
        if answer.done:
            return self._settle_deferred(tag, later, answer)
        waiting = _Waiting(tag, later, answer)
        if len(self._pending) >= self._limits.max_waiting:
            waiting.give_up()
            raise TooMany(f"Too many requests wait: at most {self._limits.max_waiting}")
        try:
            self._budget.take(_WAITING)
        except NoMemory:
            waiting.give_up()
            raise
        self._pending[tag] = waiting
        self.promised += answer.promised
        if later.fid is not None:
            later.fid.waiting[tag] = lambda: self._end(waiting)
        answer.on_done(lambda _: self._arrived(waiting))
        return None

    def _arrived(self, waiting: _Waiting) -> None:
        """A Deferred has its value, or its error."""
        self._forget(waiting)
        self._send(self._settle_deferred(waiting.tag, waiting.later, waiting.answer))

    def _end(self, waiting: _Waiting) -> None:
        """The open file that a request waits on is being closed."""
        waiting.give_up()
        self._forget(waiting)
        self._send(self._error(waiting.tag, InvalidArgument("the fid was clunked meanwhile")))

    def _forget(self, pending: _Pending) -> bool:
        """Free a request's tag, and answer its flushes; whether its own reply is wanted."""
        if pending.abandoned:
            return False
        del self._pending[pending.tag]
        if isinstance(pending, _Waiting):
            self._budget.give(_WAITING)
            self.promised -= pending.answer.promised
        if pending.later.fid is not None:
            pending.later.fid.waiting.pop(pending.tag, None)
        for tag in pending.flushes:
            del self._pending[tag]
            self._send(self._encode(tag, Rflush()))
        return not pending.flushes

    def _settle_deferred(self, tag: Tag, later: Later[Any], answer: Deferred[Any]) -> bytes:
        try:
            value = answer.result()
        except Exception as error:  # noqa: BLE001 - the node's error is the request's
            later.drop(None)
            return self._error(tag, error)
        return self._settle(tag, later, value)

    def _settle(self, tag: Tag, later: Later[Any], value: object) -> bytes:
        try:
            return self._encode(tag, later.settle(value))
        except Exception as error:  # noqa: BLE001 - a request fails, the connection lives
            return self._error(tag, error)

    def _encode(self, tag: Tag, reply: Record) -> bytes:
        frame = self._codec.encode(tag, reply)
        if len(frame) > self._msize:
            raise TooLarge(f"a reply of {len(frame)} bytes does not fit msize {self._msize}")
        return frame

    def _error(self, tag: Tag, error: Exception) -> bytes:
        """The error reply; what is not one of our errors is a bug, and its text our own affair."""
        if isinstance(error, DatakitError):
            told = to_file_error(error)
        else:
            logger.error("a request failed unexpectedly", exc_info=error)
            told = IoFailed("Internal error; the server's log has the details")
        return self._codec.encode(tag, self._dialect.error(self._fitting(told)))

    def _fitting(self, error: FileError) -> FileError:
        """The error with a text that fits a message."""
        raw = error.text.encode(errors="surrogateescape")
        room = min(self._msize - 64, 0xFFFF)
        return error if len(raw) <= room else type(error)(raw[:room].decode(errors="ignore"))
