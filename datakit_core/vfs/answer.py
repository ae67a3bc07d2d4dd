"""Answers: values that are there at once, or that come later.

An operation of a node returns its value at once whenever it can. What must wait returns a
:class:`Deferred` (a record in somebody's list of waiters, for blocked reads) or a coroutine
(which the server runs in the connection's task group, for Git writes).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

__all__ = ["Answer", "Deferred", "collect", "then"]

U = TypeVar("U")
T = TypeVar("T")


class Deferred(Generic[T]):
    """One value that comes later, without a task.

    Whoever owns the value calls :meth:`resolve` or :meth:`fail` once; whoever waits gives a
    callback to :meth:`on_done` and may :meth:`cancel`. Cancelling tells the owner, which must
    keep a value that was meant for this waiter (a flushed stream read loses nothing).
    """

    __slots__ = ("_callback", "_cancelled", "_done", "_error", "_on_cancel", "_value")

    def __init__(self, on_cancel: Callable[[], None] | None = None) -> None:
        """Wait; ``on_cancel`` is called at most once, when the waiter gives up first."""
        self._callback: Callable[[Deferred[T]], None] | None = None
        self._on_cancel = on_cancel
        self._done = False
        self._cancelled = False
        self._value: T | None = None
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether a value, an error or a cancellation has arrived."""
        return self._done or self._cancelled

    def resolve(self, value: T) -> None:
        """Deliver the value; ignored after :meth:`cancel`."""
        self._finish(value, None)

    def fail(self, error: Exception) -> None:
        """Deliver an error; ignored after :meth:`cancel`."""
        self._finish(None, error)

    def cancel(self) -> None:
        """Give up waiting: no callback will come, and the owner is told."""
        if self.done:
            return
        self._cancelled = True
        self._callback = None
        if self._on_cancel is not None:
            self._on_cancel()

    def on_done(self, callback: Callable[[Deferred[T]], None]) -> None:
        """Call ``callback`` with this object when the answer is there, at once if it is."""
        if self._done:
            callback(self)
        else:
            self._callback = callback

    def result(self) -> T:
        """The value; raises the error; only after the callback."""
        if self._error is not None:
            raise self._error
        assert self._done, "the answer is not there yet"
        return self._value  # type: ignore[return-value]  # None is a T when T allows it

    def _finish(self, value: T | None, error: Exception | None) -> None:
        if self.done:
            return
        self._done, self._value, self._error = True, value, error
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)


Answer: TypeAlias = T | Deferred[T] | Coroutine[Any, Any, T]
"""A value now, or one that comes later."""


def then(answer: Answer[T], follow: Callable[[T], U]) -> Answer[U]:
    """``follow(value)`` when the value is there: at once, or as late as ``answer`` itself."""
    if isinstance(answer, Deferred):
        return _then_deferred(answer, follow)
    if isinstance(answer, Coroutine):
        return _then_coroutine(answer, follow)
    return follow(answer)


def collect(answers: Iterable[Answer[T]]) -> Answer[Sequence[T]]:
    """All the values in order, at once if all are there at once.

    Raises:
        TypeError: One of them is a Deferred. It may never come, so nothing should wait for a
            whole list of them.
    """
    found = list(answers)
    if any(isinstance(answer, Deferred) for answer in found):
        raise TypeError("cannot collect a Deferred")
    if any(isinstance(answer, Coroutine) for answer in found):
        return _collect_later(found)
    return cast("Sequence[T]", found)


def _then_deferred(answer: Deferred[T], follow: Callable[[T], U]) -> Deferred[U]:
    later: Deferred[U] = Deferred(on_cancel=answer.cancel)

    def finish(done: Deferred[T]) -> None:
        try:
            later.resolve(follow(done.result()))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to who waits for it
            later.fail(error)

    answer.on_done(finish)
    return later


async def _then_coroutine(answer: Coroutine[Any, Any, T], follow: Callable[[T], U]) -> U:
    return follow(await answer)


async def _collect_later(answers: list[Answer[T]]) -> Sequence[T]:
    return [
        await answer if isinstance(answer, Coroutine) else cast("T", answer) for answer in answers
    ]
