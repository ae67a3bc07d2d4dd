"""The scheduler: events in, instructions out, asserted as lists."""

from __future__ import annotations

import pytest

from datakit_ci.schedule import (
    Cancel,
    Finished,
    LockState,
    PoolChanged,
    PoolState,
    Scheduler,
    Start,
    Stop,
    Unwant,
    UnwantAll,
    Want,
)
from datakit_ci.state import BuildId


def build(name: str) -> BuildId:
    return BuildId("me/app", name, "0" * 64, "1" * 64)


A, B, C, D = build("a"), build("b"), build("c"), build("d")


def test_a_wanted_build_starts_when_its_pool_has_a_unit() -> None:
    scheduler = Scheduler({"cpu": 1})
    assert scheduler.handle(Want(A, "cpu", "main")) == [Start(A)]
    assert scheduler.handle(Want(B, "cpu", "main")) == []
    assert scheduler.reason(B) == "waiting for pool cpu (1 of 1 busy)"
    assert scheduler.handle(Finished(A)) == [Start(B)]
    assert scheduler.handle(Finished(B)) == []
    assert scheduler.idle


def test_first_come_first_served_within_a_priority() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    for each, priority in ((B, 0), (C, 0), (D, 5)):
        scheduler.handle(Want(each, "cpu", "main", priority))
    assert scheduler.pools()["cpu"] == PoolState(1, (A,), (D, B, C))
    assert scheduler.reason(C) == "waiting for pool cpu (1 of 1 busy), 3rd in line"
    assert scheduler.reason(C, place=False) == "waiting for pool cpu (1 of 1 busy)"
    assert scheduler.handle(Finished(A)) == [Start(D)]
    assert scheduler.handle(Finished(D)) == [Start(B)]


def test_wanting_again_can_only_raise_the_priority() -> None:
    scheduler = Scheduler({"cpu": 0})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "other", 1))
    scheduler.handle(Want(B, "cpu", "third", -1))
    assert scheduler.pools()["cpu"].queue == (B, A)


def test_raising_the_priority_of_what_runs_changes_nothing() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    assert scheduler.handle(Want(A, "cpu", "other", 9)) == []
    assert scheduler.pools()["cpu"] == PoolState(1, (A,), ())


def test_equal_builds_are_one_and_run_as_long_as_anybody_wants_them() -> None:
    scheduler = Scheduler({"cpu": 2})
    assert scheduler.handle(Want(A, "cpu", "main")) == [Start(A)]
    assert scheduler.handle(Want(A, "cpu", "dev")) == []
    assert scheduler.handle(Unwant(A, "main")) == []
    assert scheduler.is_wanted(A)
    assert scheduler.handle(Unwant(A, "dev")) == [Stop(A, "nobody wants it any more")]
    assert not scheduler.is_wanted(A)
    assert scheduler.is_running(A)
    assert scheduler.handle(Finished(A, recorded=False)) == []
    assert scheduler.idle


def test_a_queued_build_that_nobody_wants_is_forgotten() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "main"))
    assert scheduler.handle(Unwant(B, "main")) == []
    assert scheduler.handle(Finished(A)) == []
    assert scheduler.idle


def test_an_owner_that_is_gone_wants_nothing() -> None:
    scheduler = Scheduler({"cpu": 2})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "dev"))
    scheduler.handle(Want(C, "cpu", "main"))
    assert scheduler.handle(UnwantAll("main")) == [Stop(A, "nobody wants it any more")]
    assert scheduler.handle(UnwantAll("main")) == []
    assert scheduler.pools()["cpu"] == PoolState(2, (A, B), ())


def test_what_is_being_stopped_holds_its_unit_until_it_has_ended() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "main"))
    assert scheduler.handle(Unwant(A, "main")) == [Stop(A, "nobody wants it any more")]
    assert scheduler.handle(Finished(A, recorded=False)) == [Start(B)]


def test_wanted_again_while_it_is_being_stopped_it_is_queued_again() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Unwant(A, "main"))
    assert scheduler.handle(Want(A, "cpu", "dev")) == []
    assert scheduler.reason(A) == "waiting for its cancelled run to end"
    assert scheduler.handle(Finished(A, recorded=False)) == [Start(A)]
    assert scheduler.is_wanted(A)


def test_a_result_that_came_before_the_stop_is_kept() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Unwant(A, "main"))
    scheduler.handle(Want(A, "cpu", "dev"))
    assert scheduler.handle(Finished(A, recorded=True)) == []
    assert scheduler.idle


def test_cancel_stops_for_every_owner() -> None:
    scheduler = Scheduler({"cpu": 1})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(A, "cpu", "dev"))
    scheduler.handle(Want(B, "cpu", "dev"))
    assert scheduler.handle(Cancel(B)) == []
    assert scheduler.handle(Cancel(A)) == [Stop(A, "cancelled")]
    assert scheduler.handle(Cancel(A)) == []
    assert scheduler.handle(Finished(A, recorded=False)) == []
    assert scheduler.idle


def test_pools_are_apart() -> None:
    scheduler = Scheduler({"cpu": 1, "gpu": 1})
    assert scheduler.handle(Want(A, "cpu", "main")) == [Start(A)]
    assert scheduler.handle(Want(B, "gpu", "main")) == [Start(B)]


def test_a_pool_that_grows_starts_what_waits_and_one_that_shrinks_stops_nothing() -> None:
    scheduler = Scheduler({"cpu": 0})
    scheduler.handle(Want(A, "cpu", "main"))
    scheduler.handle(Want(B, "cpu", "main"))
    assert scheduler.reason(A) == "waiting for pool cpu, which has no units"
    assert scheduler.handle(PoolChanged("cpu", 2)) == [Start(A), Start(B)]
    assert scheduler.handle(PoolChanged("cpu", 1)) == []
    scheduler.handle(Want(C, "cpu", "main"))
    assert scheduler.reason(C) == "waiting for pool cpu (2 of 1 busy)"
    assert scheduler.handle(Finished(A)) == []
    assert scheduler.handle(Finished(B)) == [Start(C)]


def test_an_undeclared_pool_makes_wait_until_it_is_declared() -> None:
    scheduler = Scheduler({})
    assert scheduler.handle(Want(A, "gpu", "main")) == []
    assert scheduler.reason(A) == "waiting for pool gpu, which is not declared"
    assert scheduler.handle(PoolChanged("gpu", 1)) == [Start(A)]
    assert scheduler.reason(A) == ""


def test_events_about_unknown_builds_change_nothing() -> None:
    scheduler = Scheduler({"cpu": 0})
    scheduler.handle(Want(B, "cpu", "main"))
    for event in (Finished(A), Cancel(A), Unwant(A, "main"), Unwant(B, "dev"), Finished(B)):
        assert scheduler.handle(event) == []
    assert scheduler.reason(A) == ""
    assert scheduler.is_wanted(B)
    assert not scheduler.is_running(A)
    assert not scheduler.is_wanted(A)


@pytest.mark.parametrize(
    ("ahead", "ordinal"), [(1, "2nd"), (3, "4th"), (10, "11th"), (12, "13th"), (20, "21st")]
)
def test_places_in_line_are_written_as_people_do(ahead: int, ordinal: str) -> None:
    scheduler = Scheduler({"cpu": 1})
    for number in range(ahead + 2):
        scheduler.handle(Want(build(f"b{number:02}"), "cpu", "main"))
    assert scheduler.reason(build(f"b{ahead + 1:02}")).endswith(f", {ordinal} in line")


def of(project: str, name: str) -> BuildId:
    return BuildId(project, name, "0" * 64, "1" * 64)


def test_projects_take_turns_within_a_priority() -> None:
    scheduler = Scheduler({"cpu": 1})
    big = [of("me/big", name) for name in "abc"]
    small = of("me/small", "x")
    for build in [*big, small]:
        scheduler.handle(Want(build, "cpu", "main"))
    assert scheduler.pools()["cpu"].queue == (small, big[1], big[2])
    assert scheduler.reason(small) == "waiting for pool cpu (1 of 1 busy)"
    assert scheduler.reason(big[1]) == "waiting for pool cpu (1 of 1 busy), 2nd in line"
    assert scheduler.handle(Finished(big[0])) == [Start(small)]


def test_a_lock_is_held_by_one_build_of_all_pools() -> None:
    scheduler = Scheduler({"cpu": 5, "gpu": 5})
    one, two, three = (of("me/app", name) for name in ("one", "two", "three"))
    assert scheduler.handle(Want(one, "cpu", "main", locks=("deploy",))) == [Start(one)]
    assert scheduler.handle(Want(two, "gpu", "main", locks=("deploy",))) == []
    assert scheduler.handle(Want(three, "gpu", "main")) == [Start(three)]
    assert scheduler.reason(two) == "waiting for lock deploy, which one of me/app has"
    assert scheduler.locks() == {"deploy": LockState(one, (two,))}
    assert scheduler.handle(Finished(one)) == [Start(two)]
    assert scheduler.handle(Finished(two)) == []
    assert scheduler.locks() == {}


def test_who_needs_several_locks_is_not_overtaken_for_one_of_them() -> None:
    scheduler = Scheduler({"cpu": 9})
    one, both, other = (of("me/app", name) for name in ("one", "both", "other"))
    scheduler.handle(Want(one, "cpu", "main", locks=("a",)))
    scheduler.handle(Want(both, "cpu", "main", locks=("a", "b")))
    assert scheduler.handle(Want(other, "cpu", "main", locks=("b",))) == []
    assert scheduler.reason(other) == "waiting for lock b, for which both of me/app comes first"
    assert scheduler.handle(Finished(one)) == [Start(both)]
    assert scheduler.handle(Finished(both)) == [Start(other)]


def test_a_build_in_a_pool_without_units_holds_up_nobody_for_its_lock() -> None:
    scheduler = Scheduler({"cpu": 1, "none": 0})
    never, other = of("me/app", "never"), of("me/app", "other")
    scheduler.handle(Want(never, "none", "main", locks=("a",)))
    assert scheduler.handle(Want(other, "cpu", "main", locks=("a",))) == [Start(other)]
    assert scheduler.reason(never) == (
        "waiting for lock a, which other of me/app has and pool none, which has no units"
    )


def test_a_lock_is_kept_until_the_processes_are_gone() -> None:
    scheduler = Scheduler({"cpu": 2})
    one, two = of("me/app", "one"), of("me/app", "two")
    scheduler.handle(Want(one, "cpu", "main", locks=("a",)))
    scheduler.handle(Want(two, "cpu", "main", locks=("a",)))
    assert scheduler.handle(Cancel(one)) == [Stop(one, "cancelled")]
    assert scheduler.handle(Finished(one, recorded=False)) == [Start(two)]
