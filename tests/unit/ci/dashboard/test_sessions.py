"""Sessions: how long they last, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass

from datakit_ci.dashboard.sessions import (
    Lifetimes,
    MemorySessions,
    Session,
    key_of,
    new_cookie,
)


@dataclass
class Time:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def session(user: str, stamp: str = "1") -> Session:
    return Session(user, 1000.0, 1000.0, stamp)


async def test_a_session_ends_when_it_is_time() -> None:
    time = Time()
    sessions = MemorySessions(time)
    await sessions.save("k", session("ann"), 10)
    assert await sessions.load("k") == session("ann")
    time.now += 10
    assert await sessions.load("k") is None


async def test_a_session_that_was_removed_is_gone() -> None:
    sessions = MemorySessions(Time())
    await sessions.save("k", session("ann"), 10)
    await sessions.remove("k")
    await sessions.remove("k")
    assert await sessions.load("k") is None


async def test_a_session_that_has_ended_is_not_kept_by_a_late_note_that_it_is_in_use() -> None:
    sessions = MemorySessions(Time())
    await sessions.save("a", session("ann"), 100)
    await sessions.touch("a", session("ann"), 200)
    assert await sessions.load("a") == session("ann")
    await sessions.remove("a")
    await sessions.touch("a", session("ann"), 200)
    assert await sessions.load("a") is None


async def test_all_sessions_of_a_user_end_and_no_other_s() -> None:
    sessions = MemorySessions(Time())
    for key, user in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        await sessions.save(key, session(user), 100)
    assert sorted(await sessions.remove_all("ann")) == ["a", "c"]
    assert [await sessions.load(key) for key in "abc"] == [None, session("bob"), None]
    assert await sessions.remove_all("ann") == []


async def test_who_logs_in_without_end_logs_out_only_themselves() -> None:
    sessions = MemorySessions(Time(), most_each=3)
    await sessions.save("bob", session("bob"), 10)
    for number in range(10):
        await sessions.save(f"ann{number}", session("ann"), 10)
    assert await sessions.load("bob") is not None
    assert [n for n in range(10) if await sessions.load(f"ann{n}")] == [7, 8, 9]


async def test_there_are_never_more_sessions_than_allowed() -> None:
    sessions = MemorySessions(Time(), most=3)
    for number in range(5):
        await sessions.save(str(number), session(f"user{number}"), 10)
        await sessions.load("2")
    assert [n for n in range(5) if await sessions.load(str(n))] == [2, 3, 4]


def test_a_session_ends_by_age_by_idleness_and_earlier_for_accounts_elsewhere() -> None:
    times = Lifetimes(whole=100, idle=30, provided=50)
    old = Session("ann", 1000.0, 1000.0, "1")
    assert times.left(old, 1010.0) == 20
    assert times.left(Session("ann", 1000.0, 1090.0, "1"), 1090.0) == 10
    assert times.left(Session("github:ann", 1000.0, 1040.0), 1040.0) == 10
    assert times.left(old, 1031.0) < 0


def test_a_cookie_cannot_be_told_from_what_the_store_knows() -> None:
    cookie = new_cookie()
    assert len(cookie) == 43
    assert cookie != new_cookie()
    assert key_of(cookie) != cookie
    assert key_of("\udcff") != key_of("?!")
