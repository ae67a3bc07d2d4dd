"""An engine whose database is elsewhere: what it copies, and what it does while that is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, shell
from datakit_ci.engine import Engine
from datakit_ci.executors.objects import ObjectCache
from datakit_ci.metadata import BRANCH, field, head_path
from datakit_ci.outcome import Outcome
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database, TreeId
from datakit_core.client.reconnect import Backoff, reconnecting
from datakit_core.client.remote import RemoteDatabase, connect
from datakit_core.errors import UnknownObject
from datakit_core.store import EMPTY_TREE, BlobId, ObjectId, open_reader
from datakit_core.store.loose import loose_name
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.command import datakit
from tests.support.executors import ScriptedExecutor, holding
from tests.support.served import serve

MAIN = Target("me/app", "heads", "main")
FILES = {"src/a": b"a" * 2000, "src/deep/b": b"b", "docs/c": b"c", "top": b"t"}


class Counting:
    """A database that counts what is read."""

    def __init__(self, database: RemoteDatabase) -> None:
        self.trees = 0
        self.blobs = 0
        self._database = database

    async def raw_tree(self, tree: TreeId) -> bytes:
        self.trees += 1
        return await self._database.raw_tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        self.blobs += 1
        return await self._database.blob(blob)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[RemoteDatabase]:
    async with serve(tmp_path / "db.git") as served, connect(served.address) as database:
        assert isinstance(database, RemoteDatabase)
        yield database


async def tree_with(database: Database, files: dict[str, bytes]) -> TreeId:
    return await database.import_tree(files)


async def test_an_input_is_copied_once(database: RemoteDatabase, tmp_path: Path) -> None:
    source = Counting(database)
    first = await tree_with(database, FILES)
    second = await tree_with(database, {**FILES, "docs/c": b"another"})
    async with ObjectCache(source, tmp_path / "objects.git") as cache:
        async with cache.holding(first):
            reader = open_reader(cache.path)
            src = reader.entry(first, "src/a")
            assert src is not None
            assert reader.blob(BlobId(src.id)) == FILES["src/a"]
            assert (source.trees, source.blobs) == (4, 4)
        async with cache.holding(second), cache.holding(first):
            assert (source.trees, source.blobs) == (6, 5), "the root, docs and one file"
        async with cache.holding(EMPTY_TREE):
            assert (source.trees, source.blobs) == (6, 5)


async def test_what_nobody_reads_is_removed_when_there_is_too_much(
    database: RemoteDatabase, tmp_path: Path
) -> None:
    source = Counting(database)
    old = await tree_with(database, {"old": b"o", "shared": b"s"})
    held = await tree_with(database, {"held": b"h"})
    new = await tree_with(database, {"new": b"n", "shared": b"s"})
    async with ObjectCache(source, tmp_path / "objects.git", limit=1) as cache:
        async with cache.holding(old):
            pass
        async with cache.holding(held), cache.holding(new):
            reader = open_reader(cache.path)
            assert list(reader.tree(held)) == ["held"]
            assert list(reader.tree(new)) == ["new", "shared"]
            assert not (cache.path / loose_name(old)).exists()
        async with cache.holding(old):
            assert (cache.path / loose_name(old)).exists(), "it is copied again"
        assert cache.size < 1000


async def test_an_input_that_is_not_there_is_an_error_and_no_half_copy(
    database: RemoteDatabase, tmp_path: Path
) -> None:
    nothing = TreeId(ObjectId("1" * 40))
    async with ObjectCache(database, tmp_path / "objects.git") as cache:
        for _ in range(2):
            with pytest.raises(UnknownObject):
                async with cache.holding(nothing):
                    pass


stage = shell("work", "work")


def jobs(target: TargetTerms) -> dict[str, object]:
    return {"work": stage(target.source)}


async def _commit(database: Database, content: bytes) -> CommitId:
    head = await commit_files(database, "source", {"file": content})
    await commit_files(database, BRANCH, {head_path(MAIN): field(head)})
    return head


async def test_builds_go_on_while_the_database_is_away_and_are_recorded_once(
    tmp_path: Path,
) -> None:
    url = f"unix://{tmp_path}/socket"
    options = ["--git", str(tmp_path / "db.git"), "--url", url]
    config = Config(projects=[Project("me/app", jobs)])  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        server, _ = await stack.enter_async_context(datakit(*options))
        database = await stack.enter_async_context(
            reconnecting(url, backoff=Backoff(first=0.01, most=0.05))
        )
        await _commit(database, b"1")
        executor, release = ScriptedExecutor(database), asyncio.Event()
        executor.behaviours["work"] = holding(release, Outcome(exit_status=0, output=EMPTY_TREE))
        engine = await stack.enter_async_context(
            Engine(database, config, executor, tmp_path / "spool")
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(engine.run())
        await executor.until(lambda: executor.running == ["work"])

        server.send_signal(signal.SIGKILL)
        await server.wait()
        release.set()
        await executor.until(lambda: not executor.running)
        state = engine.target(MAIN)
        assert state is not None
        assert state.status is not Status.SUCCESS, "no status before its result is recorded"

        await stack.enter_async_context(datakit(*options))
        head = await _commit(database, b"2")
        async with aclosing(engine.changes()) as changes:  # type: ignore[type-var]
            async for _ in changes:
                state = engine.target(MAIN)
                if state and state.head == head and state.status is Status.SUCCESS:
                    break
        await engine.idle()
        branches = await database.branches()
        results = next(name for name in branches if name.startswith("results/"))
        assert len(await messages_of(database, results)) == len(executor.requests) == 2
        files = await files_of(database, BRANCH)
        assert files[f"me/app/commit/{head}/status/ci/datakit/work/state"] == "success\n"
        assert database.away is None
        task.cancel()
