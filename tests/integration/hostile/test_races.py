"""Commits that race with what else is asked of their transaction, in one packet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from datakit_core.ninep.dialect import LINUX, UNIX, Dialect
from datakit_core.ninep.linux_messages import Rlerror
from datakit_core.ninep.messages import OpenMode, Record, Rerror, Rwrite, Tremove, Twrite
from datakit_core.ninep.wire import Fid
from tests.support.git import git
from tests.support.raw import Raw, connect
from tests.support.scenarios import begin, commit, commit_files, head_of, put
from tests.support.served import Served

ERRORS = (Rerror, Rlerror)


@pytest.fixture(params=[UNIX, LINUX], ids=lambda dialect: dialect.version)
async def racer(
    served: Served, bystander: Raw, request: pytest.FixtureRequest
) -> AsyncIterator[Raw]:
    """A client that sends many requests at once, in each dialect."""
    assert isinstance(request.param, Dialect)
    async with connect(served.port, request.param) as raw:
        yield raw
    git(served.store.path, "fsck", "--full", "--strict")


async def at_once(raw: Raw, *requests: Record) -> list[Record]:
    """Send all requests before any reply is read; the replies in the order of the requests."""
    return [await reply for reply in [raw.start(request)[1] for request in requests]]


def commits(served: Served, branch: str) -> int:
    return int(git(served.store.path, "rev-list", "--count", branch))


@pytest.mark.parametrize("before", range(6))
async def test_a_commit_has_what_was_written_before_it_and_nothing_after(
    racer: Raw, before: int
) -> None:
    place = await begin(racer, "master")
    files = [[*place, "rw", name] for name in ("one", "two")]
    for file in files:
        await racer.create(file, data=b"-")
    one, two = [await racer.open(file, OpenMode.WRITE) for file in files]
    ctl = await racer.open([*place, "ctl"], OpenMode.WRITE)
    writes: list[Record] = [Twrite(fid, 0, b"%d" % n) for n in range(3) for fid in (one, two)]
    committing = Twrite(ctl, 0, b"commit")
    replies = await at_once(racer, *writes[:before], committing, *writes[before:])
    assert replies[: before + 1] == [Rwrite(1)] * before + [Rwrite(6)]
    expected = [b"-", b"0", b"1", b"2"]
    head = await head_of(racer, "master")
    assert await racer.read("branch/master/ro/one") == expected[(before + 1) // 2]
    assert await racer.read("branch/master/ro/two") == expected[before // 2]
    assert await head_of(racer, "master") == head  # nothing moves it later


@pytest.mark.parametrize(
    ("first", "second"),
    [("commit", "commit"), ("commit", "close"), ("close", "commit"), ("close", "close")],
)
async def test_of_two_ends_of_a_transaction_the_first_counts(
    racer: Raw, served: Served, first: str, second: str
) -> None:
    await commit_files(racer, "master", {"file": b"1"})
    place = await begin(racer, "master")
    await put(racer, place, "file", b"2")
    one, two = [await racer.open([*place, "ctl"], OpenMode.WRITE) for _ in range(2)]
    done, _ = await at_once(racer, Twrite(one, 0, first.encode()), Twrite(two, 0, second.encode()))
    assert done == Rwrite(len(first))
    assert commits(served, "master") == (2 if first == "commit" else 1)
    assert await racer.list("branch/master/transactions") == []
    await commit_files(racer, "master", {"file": b"3"})
    assert await racer.read("branch/master/ro/file") == b"3"


@pytest.mark.parametrize("commit_first", [True, False])
async def test_a_merge_and_a_commit_do_not_mix(
    racer: Raw, served: Served, commit_first: bool
) -> None:
    base = await commit_files(racer, "master", {"file": b"1"})
    await racer.mkdir("branch/theirs")
    await racer.write("branch/theirs/fast-forward", base.encode())
    theirs = await commit_files(racer, "theirs", {"theirs": b"2"})
    place = await begin(racer, "master")
    await put(racer, place, "ours", b"3")
    merge = Twrite(await racer.open([*place, "merge"], OpenMode.WRITE), 0, theirs.encode())
    ctl = Twrite(await racer.open([*place, "ctl"], OpenMode.WRITE), 0, b"commit")
    requests = (ctl, merge) if commit_first else (merge, ctl)
    first, second = await at_once(racer, *requests)
    assert isinstance(first, Rwrite)
    if not commit_first and isinstance(second, ERRORS):  # refused while the merge ran
        await commit(racer, place)
    merged = [] if commit_first else ["theirs"]
    assert await racer.list("branch/master/ro") == ["file", "ours", *merged]
    parents = git(served.store.path, "rev-list", "--parents", "-1", "master").split()[1:]
    assert (theirs in parents) != commit_first


async def test_commits_on_many_connections_lose_nothing(racer: Raw, served: Served) -> None:
    await commit_files(racer, "master", {"file": b"1"})

    async def write(number: int) -> None:
        async with connect(served.port, LINUX if number % 2 else UNIX) as raw:
            await commit_files(raw, "master", {f"file{number}": b"x"})

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(write(number))
    assert len(await racer.list("branch/master/ro")) == 9


async def test_a_branch_that_goes_while_it_is_committed_to_has_the_commit_or_none(
    racer: Raw, served: Served
) -> None:
    for number in range(5):
        await commit_files(racer, "master", {"file": b"1"})
        place = await begin(racer, "master")
        await put(racer, place, "file", b"%d" % number)
        ctl = await racer.open([*place, "ctl"], OpenMode.WRITE)
        branch: Fid = await racer.walk("branch/master")
        requests: list[Record] = [Twrite(ctl, 0, b"commit"), Tremove(branch)]
        await at_once(racer, *(requests if number % 2 else reversed(requests)))
        names = await racer.list("branch")
        if "master" in names and await head_of(racer, "master"):
            assert await racer.read("branch/master/ro/file") in (b"%d" % number, b"1")
