"""Telling many subscribers, a few in each turn of the event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from datakit_core.store.subscribers import Subscribers, Subscription

MANY = 1000
READERS = range(MANY)


@dataclass
class Crowd:
    """Many subscribers, what each was told, and the turns of a loop that are to come."""

    told: list[list[str]] = field(default_factory=lambda: [[] for _ in READERS])
    turns: deque[Callable[[], None]] = field(default_factory=deque)
    subscriptions: list[Subscription] = field(default_factory=list)
    forgotten: int = 0

    def __post_init__(self) -> None:
        self.subscribers = Subscribers[str](self.turns.append)
        for number in READERS:
            self.subscriptions.append(self.subscribers.add(self.told[number].append, self.forget))

    def forget(self) -> None:
        self.forgotten += 1

    def turn(self) -> None:
        """One turn of the loop."""
        for _ in range(len(self.turns)):
            self.turns.popleft()()

    def finish(self) -> int:
        """Turn until nothing is left to do; how often."""
        count = 0
        while self.turns:
            self.turn()
            count += 1
        return count

    def who(self, value: str) -> int:
        """How many were told of ``value``."""
        return sum(value in each for each in self.told)


def test_few_are_told_before_tell_returns() -> None:
    turns: list[Callable[[], None]] = []
    told: list[str] = []
    subscribers = Subscribers[str](turns.append)
    for _ in range(50):
        subscribers.add(told.append, lambda: None)
    subscribers.tell("a")
    assert told == ["a"] * 50
    assert not turns


def test_many_are_told_a_few_in_each_turn() -> None:
    crowd = Crowd()
    crowd.subscribers.tell("a")
    seen = [crowd.who("a")]
    while crowd.turns:
        crowd.turn()
        seen.append(crowd.who("a"))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= 100
    assert crowd.told == [["a"]] * MANY


def test_each_is_told_every_value_in_order() -> None:
    crowd = Crowd()
    for value in "abc":
        crowd.subscribers.tell(value)
        crowd.turn()
    crowd.finish()
    assert crowd.told == [["a", "b", "c"]] * MANY
    crowd.subscribers.tell("d")
    crowd.finish()
    assert crowd.told == [["a", "b", "c", "d"]] * MANY


def test_who_publishes_faster_than_is_told_has_to_wait() -> None:
    crowd = Crowd()
    values = [str(number) for number in range(30)]
    for value in values:
        crowd.subscribers.tell(value)
    assert crowd.told[0][:26] == crowd.told[-1][:26] == values[:26]
    crowd.finish()
    assert crowd.told == [values] * MANY


def test_who_leaves_while_others_are_told_hears_nothing() -> None:
    crowd = Crowd()
    crowd.subscribers.tell("a")
    for subscription in crowd.subscriptions[500:]:
        subscription.close()
    crowd.finish()
    assert crowd.who("a") == 500
    assert len(crowd.subscribers) == crowd.forgotten == 500


def test_who_comes_while_others_are_told_hears_only_what_follows() -> None:
    crowd = Crowd()
    late: list[str] = []
    crowd.subscribers.tell("a")
    crowd.subscribers.add(late.append, crowd.forget)
    crowd.subscribers.tell("b")
    crowd.finish()
    assert late == ["b"]


def test_a_callback_that_tells_more_keeps_the_order() -> None:
    crowd = Crowd()
    more = deque("bcdefgh")

    def echo(_: str) -> None:
        if more:
            crowd.subscribers.tell(more.popleft())

    crowd.subscribers.add(echo, crowd.forget)
    crowd.subscribers.tell("a")
    crowd.finish()
    assert crowd.told == [list("abcdefgh")] * MANY
