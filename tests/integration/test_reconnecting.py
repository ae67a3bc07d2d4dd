"""A client whose server is killed and started again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from datakit_core.client import Backoff, Database, connect, reconnecting
from datakit_core.errors import Disconnected
from datakit_core.store import BlobId, CommitId
from tests.support.command import datakit

QUICK = Backoff(first=0.01, most=0.1)


async def put(database: Database, content: bytes) -> CommitId:
    async with database.transaction("main") as transaction:
        await transaction.write("dir/file", content)
        return await transaction.commit("")


def watch(database: Database) -> AsyncGenerator[CommitId | None, None]:
    return cast("AsyncGenerator[CommitId | None, None]", database.watch_head("main"))


async def following(heads: AsyncGenerator[CommitId | None, None]) -> CommitId | None:
    return await anext(heads)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_watch_goes_on_after_the_server_was_restarted(
    end: signal.Signals, tmp_path: Path
) -> None:
    url = f"unix://{tmp_path}/socket"
    options = ["--git", str(tmp_path / "db.git"), "--url", url]
    async with (
        datakit(*options) as (first, _),
        reconnecting(url, backoff=QUICK) as database,
        aclosing(watch(database)) as heads,
    ):
        assert await anext(heads) is None
        before = await put(database, b"before")
        assert await anext(heads) == before
        async with asyncio.TaskGroup() as tasks:
            news = tasks.create_task(following(heads))
            first.send_signal(end)
            await first.wait()
            async with datakit(*options), connect(url) as other:
                after = await put(other, b"after")
                assert await news == after, "what was known is not told again"
                tree = (await database.commit(after)).tree
                assert await database.read(tree, "dir/file") == b"after"
                assert len(await database.diff((await database.commit(before)).tree, tree)) == 1


async def test_questions_wait_for_the_server_and_edits_do_not(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/socket"
    options = ["--git", str(tmp_path / "db.git"), "--url", url]
    async with datakit(*options) as (first, _), reconnecting(url, backoff=QUICK) as database:
        head = await put(database, b"content")
        async with database.transaction("main") as transaction:
            await transaction.write("lost", b"")
            first.kill()
            await first.wait()
            with pytest.raises(Disconnected):
                await transaction.commit("")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await database.head("main")
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(database.head("main"))
            also = tasks.create_task(database.branches())
            async with datakit(*options):
                assert await asked == head
                assert await also == {"main": head}
                await put(database, b"and on")


async def test_a_long_file_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/socket"
    options = ["--git", str(tmp_path / "db.git"), "--url", url]
    content = bytes(range(256)) * 20_000
    async with datakit(*options) as (first, _), reconnecting(url, backoff=QUICK) as database:
        head = await put(database, content)
        entry = await database.entry((await database.commit(head)).tree, "dir/file")
        assert entry is not None
        pieces = database.stream_blob(BlobId(entry.id), 7, 5_000_000)
        async with aclosing(pieces):
            read = await anext(pieces)
            first.kill()
            await first.wait()
            async with datakit(*options):
                read += b"".join([piece async for piece in pieces])
        assert read == content[7:5_000_007]


async def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Disconnected, match="is the server running"):
        async with reconnecting(f"unix://{tmp_path}/none"):
            raise AssertionError("there is nobody")


def test_the_time_between_attempts_grows_to_a_limit() -> None:
    backoff = Backoff(first=1, most=10)
    for failures, low, high in ((1, 0.5, 1), (2, 1, 2), (3, 2, 4), (9, 5, 10), (10**6, 5, 10)):
        assert all(low <= backoff.delay(failures) <= high for _ in range(100))
