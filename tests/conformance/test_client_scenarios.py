"""Numbered scenarios of the conformance list through the client API, in both back ends.

What the API does not have (fids, offsets, conflict files, streams of paths) is tested by raw
messages only; ``README.md`` beside this file says which test stands for which scenario.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from datakit_core.client.api import CommitId, Database, Entry, FileMode, TreeId
from datakit_core.client.local import LocalDatabase
from datakit_core.client.remote import connect
from datakit_core.errors import MergeConflict, NoEntry, UnknownObject
from datakit_core.store import ObjectId
from tests.support.git import git
from tests.support.served import Served, serve

ABSENT = CommitId(ObjectId("1" * 40))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path / "db.git") as served:
        yield served


@pytest.fixture(params=["local", "remote"])
async def pair(
    request: pytest.FixtureRequest, served: Served
) -> AsyncIterator[tuple[Database, Database]]:
    """Two clients of one database."""
    async with AsyncExitStack() as stack:
        if request.param == "local":
            yield LocalDatabase(served.store), LocalDatabase(served.store)
        else:
            one = await stack.enter_async_context(connect(served.address))
            yield one, await stack.enter_async_context(connect(served.address))


@pytest.fixture
def database(pair: tuple[Database, Database]) -> Database:
    return pair[0]


async def commit_file(database: Database, branch: str, path: str, content: bytes) -> CommitId:
    async with database.transaction(branch) as transaction:
        await transaction.write(path, content)
        return await transaction.commit("a commit")


async def root_of(database: Database, branch: str) -> TreeId:
    head = await database.head(branch)
    assert head is not None
    return (await database.commit(head)).tree


async def test_7_a_branch_made_by_git_is_seen(database: Database, served: Served) -> None:
    head = await commit_file(database, "master", "file", b"content")
    git(served.store.path, "update-ref", "refs/heads/theirs", head)
    assert await database.head("theirs") == head


async def test_8_removing_deletes_the_ref(database: Database, served: Served) -> None:
    await commit_file(database, "master", "file", b"content")
    await database.remove_branch("master")
    assert git(served.store.path, "for-each-ref", "refs/heads") == ""


async def test_9_the_head_of_an_empty_branch_is_absent(database: Database) -> None:
    for _ in range(2):
        async with database.transaction("master") as transaction:
            assert transaction.base is None
    assert await database.head("master") is None


async def test_10_an_empty_branch_is_fast_forwarded(database: Database) -> None:
    head = await commit_file(database, "master", "file", b"content")
    await database.fast_forward("copy", head)
    assert await database.head("copy") == head
    with pytest.raises((NoEntry, UnknownObject)):
        await database.fast_forward("copy", ABSENT)


async def test_11_a_file_is_committed_with_its_message(database: Database) -> None:
    async with database.transaction("master") as transaction:
        await transaction.write("src/Makefile", b"all: build test")
        head = await transaction.commit("My commit")
    commit = await database.commit(head)
    assert (commit.message, commit.parents) == ("My commit", ())
    assert await database.read(commit.tree, "src/Makefile") == b"all: build test"


async def test_12_the_parent_is_the_previous_head(database: Database) -> None:
    first = await commit_file(database, "master", "file", b"1")
    second = await commit_file(database, "master", "file", b"2")
    assert (await database.commit(second)).parents == (first,)


async def test_13_a_commit_that_is_not_there_is_unknown(database: Database) -> None:
    with pytest.raises((NoEntry, UnknownObject)):
        await database.commit(ABSENT)


async def test_14_transactions_may_be_nested(database: Database) -> None:
    first = await commit_file(database, "master", "first", b"")
    async with database.transaction("master") as outer:
        await outer.write("outer", b"")
        inner = await commit_file(database, "master", "inner", b"")
        head = await database.commit(await outer.commit("Outer"))
    assert head.parents[0] == inner
    assert (await database.commit(head.parents[1])).parents == (first,)
    assert list(await database.tree(head.tree)) == ["first", "inner", "outer"]


async def test_15_an_abandoned_transaction_leaves_no_head(database: Database) -> None:
    async with database.transaction("master") as transaction:
        await transaction.write("file", b"content")
    assert await database.head("master") is None


async def test_16_directories_above_a_file_are_made_as_needed(database: Database) -> None:
    async with database.transaction("master") as transaction:
        await transaction.write("a/b/c/one", b"1")
        await transaction.write("a/b/c/two", b"2")
        assert list(await transaction.list("a/b/c")) == ["one", "two"]
        await transaction.remove("a/b/c/one")
        await transaction.remove("a/b/c/two")
        head = await transaction.commit("nothing but empty directories")
    assert dict(await database.tree((await database.commit(head)).tree)) == {}


async def test_17_a_file_is_created_or_replaced(database: Database) -> None:
    async with database.transaction("master") as transaction:
        assert await transaction.entry("file") is None
        await transaction.write("file", b"Data number one")
        assert await transaction.entry("file") is FileMode.NORMAL
        await transaction.write("file", b"Data2")
        await transaction.commit("replaced")
    assert await database.read(await root_of(database, "master"), "file") == b"Data2"


async def test_18_a_directory_is_removed_with_its_content(database: Database) -> None:
    await commit_file(database, "master", "src/file", b"")
    await commit_file(database, "master", "doc/file", b"")
    async with database.transaction("master") as transaction:
        assert list(await transaction.list()) == ["doc", "src"]
        await transaction.remove("src")
        assert list(await transaction.list()) == ["doc"]
        await transaction.commit("removed")
    assert list(await database.tree(await root_of(database, "master"))) == ["doc"]


async def test_26_a_tree_does_not_differ_from_itself(database: Database) -> None:
    await commit_file(database, "master", "file", b"1")
    tree = await root_of(database, "master")
    await commit_file(database, "master", "file", b"2")
    await commit_file(database, "master", "foo", b"")
    changes = await database.diff(tree, await root_of(database, "master"))
    assert [(str(change.kind.value), change.path) for change in changes] == [
        ("*", "file"),
        ("+", "foo"),
    ]
    assert list(await database.diff(tree, tree)) == []


async def test_27_an_old_commit_keeps_its_content(database: Database) -> None:
    head = await commit_file(database, "master", "test/time", b"noon")
    await commit_file(database, "master", "test/time", b"midnight")
    tree = (await database.commit(head)).tree
    assert await database.read(tree, "test/time") == b"noon"
    entry = await database.entry(tree, "test")
    assert entry is not None
    assert list(await database.tree(TreeId(entry.id))) == ["time"]


async def test_29_known_contents_have_known_ids(database: Database) -> None:
    await commit_file(database, "master", "src/Makefile", b"all: build")
    tree = await root_of(database, "master")
    assert tree == "acaa8ac97706d94e012da475e8a63d647011a72c"
    assert await database.entry(tree, "src/Makefile") == Entry(
        FileMode.NORMAL, ObjectId("d81e367f87ee314bcd3e449b1c6641efda5bc269")
    )
    await commit_file(database, "master", "doc/README", b"Instructions")
    tree = await root_of(database, "master")
    assert tree == "eccca2d529dee833e47546cc2e095cc1c79f1917"
    assert await database.entry(tree, "doc") == Entry(
        FileMode.DIRECTORY, ObjectId("a3e8adf6d194bfbdec2ca73aebe0990edee2ddbf")
    )


async def test_33_a_watch_is_switched_off_while_it_waits(database: Database) -> None:
    async with aclosing(database.watch_head("master")) as heads:  # type: ignore[type-var]
        assert await anext(heads) is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(heads)
    assert await database.head("master") is None  # the connection goes on


async def test_34_the_head_is_told_first_and_on_each_change(
    pair: tuple[Database, Database],
) -> None:
    ours, theirs = pair
    first = await commit_file(ours, "master", "file", b"1")
    async with aclosing(ours.watch_head("master")) as heads:  # type: ignore[type-var]
        assert await anext(heads) == first
        second = await commit_file(theirs, "master", "file", b"2")
        assert await anext(heads) == second


async def test_38_large_files_are_written_and_read_back(database: Database) -> None:
    pattern = bytes(index % 251 for index in range(131_222))
    async with database.transaction("master") as transaction:
        await transaction.write("zeros", bytes(1 << 20))
        await transaction.write("pattern", pattern)
        await transaction.commit("large")
    tree = await root_of(database, "master")
    assert await database.read(tree, "zeros") == bytes(1 << 20)
    assert await database.read(tree, "pattern") == pattern


async def test_53_a_transaction_is_its_clients_own(pair: tuple[Database, Database]) -> None:
    ours, theirs = pair
    async with ours.transaction("master") as mine, theirs.transaction("master") as yours:
        await mine.write("mine", b"1")
        await yours.write("yours", b"2")
        await mine.write("both", b"1")
        await yours.write("both", b"2")
        assert list(await yours.list()) == ["both", "yours"]
        await mine.commit("mine")
        with pytest.raises(MergeConflict) as caught:
            await yours.commit("yours")
        assert caught.value.conflicts == ("both",)
        await yours.remove("both")
        await yours.write("both", b"1")
        await yours.commit("yours")
    assert list(await ours.tree(await root_of(ours, "master"))) == ["both", "mine", "yours"]
