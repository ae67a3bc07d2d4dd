"""How often one may try."""

from __future__ import annotations

import pytest

from datakit_ci.dashboard.attempts import Attempts, Limit, network_of

FEW = Limit(3, 30.0)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_attempts_run_out_and_come_back_one_by_one() -> None:
    time = Time()
    attempts = Attempts(time)
    assert [attempts.take([("a", FEW)]) for _ in range(3)] == [0, 0, 0]
    assert attempts.take([("a", FEW)]) == 10
    assert attempts.take([("b", FEW)]) == 0
    time.now = 10
    assert attempts.take([("a", FEW)]) == 0
    assert attempts.take([("a", FEW)]) == 10


def test_one_key_without_attempts_is_enough_and_then_none_is_counted() -> None:
    attempts = Attempts(Time())
    for _ in range(3):
        attempts.take([("a", FEW)])
    assert attempts.take([("a", FEW), ("b", FEW)]) > 0
    assert [attempts.take([("b", FEW)]) for _ in range(3)] == [0, 0, 0]


def test_a_good_attempt_does_not_count() -> None:
    attempts = Attempts(Time())
    for _ in range(20):
        assert attempts.take([("a", FEW)]) == 0
        attempts.give_back([("a", FEW)])


def test_only_so_many_keys_are_remembered() -> None:
    attempts = Attempts(Time(), most=10)
    for number in range(1000):
        attempts.take([(str(number), FEW)])
    assert len(attempts._full) == 10


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::2:1", "2001:db8::"),
        ("unknown" * 100, ("unknown" * 100)[:64]),
    ],
)
def test_a_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network
