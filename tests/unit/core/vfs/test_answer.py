"""Answers: values now, values later, and functions of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

import pytest

from datakit_core.errors import NoEntry
from datakit_core.vfs import Answer, Deferred, collect, otherwise, then


async def value_of(value: int) -> int:
    return value


def later(value: int) -> Answer[int]:
    return value_of(value)


def run(answer: object) -> object:
    """Drive a coroutine that never waits."""
    with pytest.raises(StopIteration) as stop:
        answer.send(None)  # type: ignore[attr-defined]
    return stop.value.value


class TestDeferred:
    def test_calls_back_when_the_value_arrives(self) -> None:
        seen: list[int] = []
        deferred: Deferred[int] = Deferred()
        deferred.on_done(lambda done: seen.append(done.result()))
        assert seen == []
        deferred.resolve(3)
        assert seen == [3]

    def test_calls_back_at_once_when_the_value_is_there(self) -> None:
        seen: list[int] = []
        deferred: Deferred[int] = Deferred()
        deferred.resolve(3)
        deferred.on_done(lambda done: seen.append(done.result()))
        assert seen == [3]

    def test_delivers_an_error(self) -> None:
        deferred: Deferred[int] = Deferred()
        deferred.fail(NoEntry())
        with pytest.raises(NoEntry):
            deferred.result()

    def test_keeps_the_first_of_two_answers(self) -> None:
        deferred: Deferred[int] = Deferred()
        deferred.resolve(1)
        deferred.resolve(2)
        deferred.fail(NoEntry())
        assert deferred.result() == 1

    def test_cancelled_never_calls_back_and_tells_its_owner_once(self) -> None:
        told: list[str] = []
        seen: list[int] = []
        deferred: Deferred[int] = Deferred(on_cancel=lambda: told.append("cancelled"))
        deferred.on_done(lambda done: seen.append(done.result()))
        deferred.cancel()
        deferred.cancel()
        deferred.resolve(1)
        assert (told, seen, deferred.done) == (["cancelled"], [], True)

    def test_cannot_be_cancelled_after_its_value(self) -> None:
        told: list[str] = []
        deferred: Deferred[int] = Deferred(on_cancel=lambda: told.append("cancelled"))
        deferred.resolve(1)
        deferred.cancel()
        assert (told, deferred.result()) == ([], 1)


class TestThen:
    def test_maps_a_value_at_once(self) -> None:
        assert then(2, lambda value: value + 1) == 3

    def test_maps_a_coroutine(self) -> None:
        assert run(then(later(2), lambda value: value + 1)) == 3

    def test_maps_a_deferred(self) -> None:
        source: Deferred[int] = Deferred()
        answer: Answer[int] = source
        mapped = then(answer, lambda value: value + 1)
        assert isinstance(mapped, Deferred)
        source.resolve(2)
        assert mapped.result() == 3

    def test_passes_on_an_error_of_the_deferred_and_of_the_function(self) -> None:
        def refuse(value: int) -> int:
            raise NoEntry

        failing: Deferred[int] = Deferred()
        working: Deferred[int] = Deferred()
        first: Answer[int] = failing
        second: Answer[int] = working
        answers = [then(first, lambda value: value), then(second, refuse)]
        failing.fail(NoEntry())
        working.resolve(1)
        for answer in answers:
            assert isinstance(answer, Deferred)
            with pytest.raises(NoEntry):
                answer.result()

    def test_cancelling_the_mapped_one_cancels_the_source(self) -> None:
        told: list[str] = []
        source: Deferred[int] = Deferred(on_cancel=lambda: told.append("cancelled"))
        answer: Answer[int] = source
        mapped = then(answer, lambda value: value)
        assert isinstance(mapped, Deferred)
        mapped.cancel()
        assert told == ["cancelled"]

    def test_lets_a_coroutine_follow_a_value_or_a_coroutine(self) -> None:
        assert run(then(2, later)) == 2
        assert run(then(later(2), later)) == 2

    def test_lets_nothing_but_a_value_follow_a_deferred(self) -> None:
        sources = [Deferred[int](), Deferred[int]()]
        followers: list[Callable[[int], Answer[int]]] = [later, lambda value: Deferred()]
        for source, follower in zip(sources, followers, strict=True):
            answer: Answer[int] = source
            mapped = then(answer, follower)
            assert isinstance(mapped, Deferred)
            source.resolve(1)
            with pytest.raises(TypeError, match="cannot follow"):
                mapped.result()

    def test_lets_no_deferred_follow_a_coroutine(self) -> None:
        def follow(value: int) -> Answer[int]:
            return Deferred()

        with pytest.raises(TypeError, match="cannot follow"):
            run(then(later(2), follow))


class TestOtherwise:
    def missing(self) -> Answer[int]:
        raise NoEntry

    def missing_later(self) -> Answer[int]:
        return then(later(1), lambda value: self.missing())

    def test_is_the_first_answer_if_there_is_one(self) -> None:
        assert otherwise(lambda: 1, NoEntry, self.missing) == 1
        assert run(otherwise(lambda: later(1), NoEntry, self.missing)) == 1

    def test_is_the_second_if_the_first_fails(self) -> None:
        assert otherwise(self.missing, NoEntry, lambda: 2) == 2
        assert run(otherwise(self.missing_later, NoEntry, lambda: 2)) == 2
        assert run(otherwise(self.missing_later, NoEntry, lambda: later(2))) == 2

    def test_passes_on_other_errors(self) -> None:
        with pytest.raises(NoEntry):
            otherwise(self.missing, KeyError, lambda: 2)

    def test_leaves_a_deferred_alone(self) -> None:
        deferred: Deferred[int] = Deferred()
        assert otherwise(lambda: deferred, NoEntry, self.missing) is deferred


class TestGivingUp:
    """A coroutine that is closed before it starts closes those that it would have awaited."""

    def test_by_closing(self) -> None:
        for answer in (
            then(then(later(1), later), later),
            collect([later(1), later(2)]),
            otherwise(lambda: later(1), NoEntry, lambda: 2),
        ):
            assert isinstance(answer, Coroutine)
            answer.close()

    def test_by_cancelling(self) -> None:
        answer = then(later(1), later)
        assert isinstance(answer, Coroutine)
        with pytest.raises(KeyboardInterrupt):
            answer.throw(KeyboardInterrupt())


class TestCollect:
    def test_gives_values_at_once(self) -> None:
        assert collect([1, 2]) == [1, 2]

    def test_waits_for_coroutines_in_order(self) -> None:
        assert run(collect([1, later(2), 3])) == [1, 2, 3]

    def test_refuses_what_may_never_come(self) -> None:
        deferred: Answer[int] = Deferred()
        with pytest.raises(TypeError, match="Deferred"):
            collect([later(1), deferred])
