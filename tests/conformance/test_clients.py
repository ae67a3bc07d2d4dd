"""Several clients at once: scenarios 53 and 54 of the conformance list."""

from __future__ import annotations

import errno

from tests.support.raw import Raw, connect
from tests.support.scenarios import Stream, commit
from tests.support.served import Served
from tests.support.waiting import until


async def test_53_a_transaction_is_its_connections_own(raw: Raw, other: Raw) -> None:
    place = ["branch", "master", "transactions", "1"]
    for client in (raw, other):
        await client.mkdir("branch/master")
        assert await client.list("branch/master/transactions") == []
        await client.mkdir(place)
    await raw.create([*place, "rw", "mine"], data=b"1")
    await other.create([*place, "rw", "yours"], data=b"2")
    assert await other.list([*place, "rw"]) == ["yours"]
    await commit(raw, place)
    assert await other.list("branch/master/ro") == ["mine"]
    await commit(other, place)
    assert await raw.list("branch/master/ro") == ["mine", "yours"]


async def test_53_two_changes_of_one_file_are_one_conflict(raw: Raw, other: Raw) -> None:
    place = ["branch", "master", "transactions", "1"]
    for client in (raw, other):
        await client.mkdir("branch/master")
        await client.mkdir(place)
    await raw.create([*place, "rw", "file"], data=b"1")
    await other.create([*place, "rw", "file"], data=b"2")
    await commit(raw, place)
    with other.refused("Merge conflict: file", errno.EBUSY):
        await commit(other, place)
    assert await raw.read("branch/master/ro/file") == b"1"


async def test_54_what_a_connection_owned_goes_with_it(raw: Raw, served: Served) -> None:
    watches = served.store._watches
    async with connect(served.port) as leaving:
        await leaving.mkdir("branch/made")
        await leaving.mkdir("branch/made/transactions/1")
        await leaving.mkdir("remotes/origin")
        stream = await Stream.open(leaving, "branch/made/head.live")
        await stream.line()
        stream.block()
        assert await leaving.list("branch") == ["made"]
        assert watches._by_head
        assert await raw.list("branch") == []
    await until(lambda: not watches._by_head)
    assert await raw.list("branch") == []
    assert await raw.list("remotes") == []


async def test_54_branch_names_are_escaped_for_a_client_that_asks(served: Served) -> None:
    async with connect(served.port, aname="posix") as posix, connect(served.port) as raw:
        await posix.mkdir(["branch", "a%2Fb%25"])
        assert await posix.list("branch") == ["a%2Fb%25"]
        place = ["branch", "a%2Fb%25", "transactions", "1"]
        await posix.mkdir(place)
        await commit(posix, place)
        assert await raw.list("branch") == ["a/b%"]
        assert await raw.read(["branch", "a/b%", "head"]) != b"\n"
        assert await raw.read(["branch", "a%2Fb%25", "head"]) != b"\n"
        await posix.wstat(["branch", "a%2Fb%25"], name="c%2Fd")
        assert await raw.list("branch") == ["c/d"]
