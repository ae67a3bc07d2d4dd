"""The client API over 9P, where it differs from one in the process: connections and their ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from datakit_core.client.remote import RemoteDatabase, connect
from datakit_core.errors import (
    AlreadyExists,
    ClientError,
    Disconnected,
    InvalidArgument,
    InvalidName,
    IoFailed,
    MergeConflict,
    NotDirectory,
)
from datakit_core.ninep import connect as connect_9p
from datakit_core.ninep.messages import Twalk
from datakit_core.server import serve_store
from datakit_core.store import Entry, FileMode, TreeId
from tests.support.databases import open_store
from tests.support.served import serve
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("nonblocking")


async def test_nothing_is_left_at_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect_9p(served.address) as client:
        database = RemoteDatabase(client)
        for number in range(3):
            async with database.transaction("main") as transaction:
                await transaction.write(f"a/{number}", b"content")
                await transaction.commit("a commit")
        async with database.transaction("main") as transaction:
            await transaction.write("a/lost", b"content")
        async with aclosing(database.watch_head("main")) as heads:
            await anext(heads)
        head = await database.head("main")
        assert head is not None
        assert [commit.message async for commit in database.history(head)] == ["a commit"] * 3
        assert await client.names(["branch", "main", "transactions"]) == []
        await until(lambda: client.outstanding == 0)
        assert client.fids == 0


async def test_a_new_head_costs_one_fetch_for_each_changed_directory(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:
        paths = [f"{folder}/deep/file" for folder in "abcd"]

        async def commit(content: bytes, *written: str) -> TreeId:
            async with database.transaction("main") as transaction:
                for path in written:
                    await transaction.write(path, path.encode() + content)
                return (await database.commit(await transaction.commit(""))).tree

        async def walks_to_look_at(tree: TreeId) -> int:
            before = served.server.traffic.answered[Twalk.number]
            for path in paths:
                assert await database.entry(tree, path) is not None
            return served.server.traffic.answered[Twalk.number] - before

        first = await commit(b"1", *paths)
        assert await walks_to_look_at(first) == 9
        assert await walks_to_look_at(first) == 0
        second = await commit(b"2", paths[0])
        assert await walks_to_look_at(second) == 3, "the root, a and a/deep"
        assert [str(change.path) for change in await database.diff(first, second)] == paths[:1]


async def test_a_cancelled_watch_is_forgotten(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect_9p(served.address) as client:
        database = RemoteDatabase(client)
        started = asyncio.Event()

        async def watch() -> None:
            async for _ in database.watch_head("main"):
                started.set()

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            await started.wait()
            watching.cancel()
        await until(lambda: client.outstanding == 0)
        assert client.fids == 0
        assert not served.store._watches._by_head


async def test_the_end_of_the_server_ends_every_call(tmp_path: Path) -> None:
    async with open_store(tmp_path / "db.git") as store, AsyncExitStack() as server:
        serving = await server.enter_async_context(serve_store(store, ["tcp://127.0.0.1:0"]))
        address = str(serving.endpoints[0])
        async with connect_9p(address) as client:
            database = RemoteDatabase(client)
            async with aclosing(database.watch_head("main")) as heads, asyncio.TaskGroup() as tasks:
                assert await anext(heads) is None
                tasks.create_task(server.aclose())
                with pytest.raises(Disconnected):
                    await anext(heads)
            with pytest.raises(Disconnected):
                await database.branches()
        with pytest.raises(Disconnected, match="is the server running"):
            async with connect(address):
                pass


async def test_a_transaction_whose_connection_is_lost_can_be_left(tmp_path: Path) -> None:
    async with open_store(tmp_path / "db.git") as store, AsyncExitStack() as server:
        serving = await server.enter_async_context(serve_store(store, ["tcp://127.0.0.1:0"]))
        async with (
            connect(str(serving.endpoints[0])) as database,
            database.transaction("main") as transaction,
        ):
            await transaction.write("file", b"content")
            await server.aclose()
            with pytest.raises(Disconnected):
                await transaction.commit("too late")
        assert store.head("main") is None


async def test_names_and_paths_travel_unharmed(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:
        branch, path, message = "a/b%2Fc", "dir %/ name ", "\nbytes: \udcff\n"
        async with database.transaction(branch) as transaction:
            await transaction.write(path, b"\0\xff")
            head = await transaction.commit(message)
        commit = await database.commit(head)
        assert commit.message == message
        assert await database.read(commit.tree, path) == b"\0\xff"
        assert list(await database.branches()) == [branch]
        with pytest.raises(InvalidArgument, match="begin or end with a space"):
            async with database.transaction(branch) as transaction:
                await transaction.graft(path, Entry(FileMode.DIRECTORY, commit.tree))
        with pytest.raises((InvalidName, InvalidArgument)):
            await database.fast_forward("a..b", head)


async def test_errors_are_those_of_a_local_database(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:
        async with database.transaction("main") as transaction:
            await transaction.write("file", b"content")
            await transaction.write("big", bytes(3 << 20))
            assert await transaction.read("big") == bytes(3 << 20)
            for path in ("file", "file/below"):
                with pytest.raises(NotDirectory):
                    await transaction.list(path)
            with pytest.raises((NotDirectory, AlreadyExists)):
                await transaction.write("file/below/it", b"")
        with pytest.raises(ClientError, match="is closed"):
            await transaction.read("file")


async def test_many_conflicts_are_named_up_to_ten(tmp_path: Path) -> None:
    paths = [f"file{number:02}" for number in range(12)]
    async with (
        serve(tmp_path / "db.git") as served,
        connect(served.address) as database,
        database.transaction("main") as ours,
        database.transaction("main") as theirs,
    ):
        for path in paths:
            await ours.write(path, b"ours")
            await theirs.write(path, b"theirs")
        await theirs.commit("theirs")
        with pytest.raises(MergeConflict) as caught:
            await ours.commit("ours")
    assert caught.value.conflicts == tuple(paths[:10])


async def test_what_cannot_be_imported_is_named(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:
        with pytest.raises(IoFailed, match="cannot read"):
            await database.import_directory(tmp_path / "none")
        with pytest.raises(InvalidArgument, match="git"):
            await database.import_tree({"a/.GIT/config": b""})
        assert await database.branches() == {}


async def test_who_is_cancelled_while_committing_is_cancelled(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:

        async def commit() -> None:
            async with database.transaction("main") as transaction:
                await transaction.write("a", b"content")
                await transaction.commit("a commit")

        cancelled, steps = True, 0
        while cancelled:  # ever later, until it is too late
            steps += 5
            async with asyncio.TaskGroup() as tasks:
                committing = tasks.create_task(commit())
                for _ in range(steps):
                    await asyncio.sleep(0)
                committing.cancel()
            cancelled = committing.cancelled()
        assert steps > 5
