"""Answers: values that are there at once, or that come later.

An operation of a node returns its value at once whenever it can. What must wait returns a
:class:`Deferred` (a record in somebody's list of waiters, for blocked reads) or a coroutine
(which the server runs in the connection's task group, for Git writes).

The two differ when the client gives the request up: a Deferred is cancelled and that is that,
while a coroutine runs to its end, since half a commit is worse than a late answer. What may
take long and can be given up is therefore a Deferred.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

__all__ = ["Answer", "Deferred", "collect", "otherwise", "then"]

U = TypeVar("U")
T = TypeVar("T")


class Deferred(Generic[T]):
    """One value that comes later, without a task.

    Whoever owns the value calls :meth:`resolve` or :meth:`fail` once; whoever waits gives a
    callback to :meth:`on_done` and may :meth:`cancel`. Cancelling tells the owner, which must
    keep a value that was meant for this waiter (a flushed stream read loses nothing).
    """

    __slots__ = ("_callback", "_cancelled", "_done", "_error", "_on_cancel", "_value", "promised")

    def __init__(self, on_cancel: Callable[[], None] | None = None, *, promised: int = 0) -> None:
        """Wait; ``on_cancel`` is called at most once, when the waiter gives up first.

        Args:
            on_cancel: Tells the owner.
            promised: Bytes that will certainly and soon be there; a server that waits for many
                of them reads no more requests. 0 for what may never come.
        """
        self.promised = promised
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


def then(answer: Answer[T], follow: Callable[[T], Answer[U]]) -> Answer[U]:
    """What ``follow`` answers to the value: at once, or as late as either of them.

    After a value may come anything, after a coroutine a coroutine or a value, and after a
    Deferred only a value; otherwise a TypeError is what comes later.
    """
    if isinstance(answer, Deferred):
        return _then_deferred(answer, follow)
    if isinstance(answer, Coroutine):
        return _Continued(_then_coroutine(answer, follow), [answer])
    return follow(answer)


def otherwise(
    ask: Callable[[], Answer[T]], error: type[Exception], instead: Callable[[], Answer[T]]
) -> Answer[T]:
    """What ``ask`` answers, or if that fails with ``error`` what ``instead`` answers.

    Only the failure of a value or a coroutine is caught; a Deferred keeps its error.
    """
    try:
        answer = ask()
    except error:
        return instead()
    if isinstance(answer, Coroutine):
        return _Continued(_otherwise_later(answer, error, instead), [answer])
    return answer


def collect(answers: Iterable[Answer[T]]) -> Answer[Sequence[T]]:
    """All the values in order, at once if all are there at once.

    Raises:
        TypeError: One of them is a Deferred. It may never come, so nothing should wait for a
            whole list of them.
    """
    found = list(answers)
    coroutines = [answer for answer in found if isinstance(answer, Coroutine)]
    if any(isinstance(answer, Deferred) for answer in found):
        for coroutine in coroutines:
            coroutine.close()
        raise TypeError("cannot collect a Deferred")
    if coroutines:
        return _Continued(_collect_later(found), coroutines)
    return cast("Sequence[T]", found)


class _Continued(Coroutine[Any, Any, T]):
    """A coroutine that awaits others, and closes them if it is closed before it starts.

    A plain ``async def`` that was never started forgets its arguments, and Python complains
    that they were never awaited.
    """

    __slots__ = ("_inner", "_run")

    def __init__(
        self, run: Coroutine[Any, Any, T], inner: Sequence[Coroutine[Any, Any, Any]]
    ) -> None:
        self._run = run
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, T]:
        return self._run.__await__()

    def send(self, value: Any) -> Any:
        return self._run.send(value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._run.throw(*error)
        except BaseException:
            self._close_inner()
            raise

    def close(self) -> None:
        self._run.close()
        self._close_inner()

    def _close_inner(self) -> None:
        for coroutine in self._inner:
            coroutine.close()


def _then_deferred(answer: Deferred[T], follow: Callable[[T], Answer[U]]) -> Deferred[U]:
    later: Deferred[U] = Deferred(on_cancel=answer.cancel)

    def finish(done: Deferred[T]) -> None:
        try:
            later.resolve(_immediate(follow(done.result())))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to who waits for it
            later.fail(error)

    answer.on_done(finish)
    return later


def _immediate(answer: Answer[T]) -> T:
    if isinstance(answer, Coroutine):
        answer.close()
        raise TypeError("a coroutine cannot follow a Deferred")
    if isinstance(answer, Deferred):
        answer.cancel()
        raise TypeError("a Deferred cannot follow a Deferred or a coroutine")
    return answer


async def _then_coroutine(answer: Coroutine[Any, Any, T], follow: Callable[[T], Answer[U]]) -> U:
    following = follow(await answer)
    return await following if isinstance(following, Coroutine) else _immediate(following)


async def _otherwise_later(
    answer: Coroutine[Any, Any, T], error: type[Exception], instead: Callable[[], Answer[T]]
) -> T:
    try:
        return await answer
    except error:
        following = instead()
    return await following if isinstance(following, Coroutine) else _immediate(following)


async def _collect_later(answers: list[Answer[T]]) -> Sequence[T]:
    return [
        await answer if isinstance(answer, Coroutine) else cast("T", answer) for answer in answers
    ]
