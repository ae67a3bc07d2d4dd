"""Budgets: memory of one connection and of all, the number of connections, and what is left."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from datakit_core.dbfs.edit import Edit
from datakit_core.ninep.connection import Connection, ConnectionLimits
from datakit_core.ninep.dialect import UNIX
from datakit_core.ninep.endpoint import TcpEndpoint
from datakit_core.ninep.fids import BoundFid
from datakit_core.ninep.messages import OpenMode, Tread
from datakit_core.ninep.session import Session
from datakit_core.server import serve_store
from datakit_core.store import Overlay
from tests.support.databases import open_store
from tests.support.raw import Raw, RawError, connect
from tests.support.scenarios import begin, commit, commit_files
from tests.support.served import Served
from tests.support.waiting import until

ENOMEM = 12
KINDS = (BoundFid, Connection, Edit, Overlay, Session)

LIMITS = ConnectionLimits(max_connections=3, memory=3 << 20, server_memory=5 << 20)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with (
        open_store(tmp_path / "db.git") as store,
        serve_store(store, ["tcp://127.0.0.1:0"], limits=LIMITS) as server,
    ):
        (endpoint,) = server.endpoints
        assert isinstance(endpoint, TcpEndpoint)
        yield Served(store, endpoint.port, server)


async def fill(raw: Raw, branch: str) -> list[str]:
    """Make files of 100 kB until there is no memory; the transaction."""
    place = await begin(raw, branch)
    for number in range(100):
        await raw.create([*place, "rw", str(number)])
        fid = await raw.open([*place, "rw", str(number)], OpenMode.WRITE)
        try:
            await raw.write_at(fid, 0, bytes(50_000))
            await raw.write_at(fid, 50_000, bytes(50_000))
        except RawError as error:
            assert error.errno == ENOMEM  # noqa: PT017 - it must come at some time
            assert "commit or close transactions" in error.text  # noqa: PT017
            return place
        finally:
            await raw.clunk(fid)
    raise AssertionError("there was no end")


async def test_edits_use_up_the_budget_of_a_connection_and_closing_gives_it_back(
    raw: Raw, served: Served
) -> None:
    place = await fill(raw, "main")
    assert 2 << 20 < served.server.memory < 4 << 20
    await raw.write([*place, "ctl"], b"close")
    assert served.server.memory < 100_000
    place = await fill(raw, "main")
    await commit(raw, place)
    assert served.server.memory < 100_000


async def test_all_connections_share_the_budget_of_the_server(raw: Raw, served: Served) -> None:
    await fill(raw, "main")
    async with connect(served.port, UNIX) as other:
        await fill(other, "main")
        assert served.server.memory < 5 << 20
    await until(lambda: served.server.memory < 4 << 20)


@pytest.mark.parametrize("what", ["files", "directories", "fids", "messages", "transactions"])
async def test_nothing_that_a_client_makes_is_free(raw: Raw, served: Served, what: str) -> None:
    with pytest.raises(RawError) as failed:
        await make_without_end(raw, what)
    assert failed.value.errno == ENOMEM
    assert served.server.memory < LIMITS.memory + 10_000  # of the bystander


async def make_without_end(raw: Raw, what: str) -> None:
    place = await begin(raw, "main")
    for number in range(20_000):
        match what:
            case "files":
                await raw.create([*place, "rw", f"f{number}"])
            case "directories":
                await raw.mkdir([*place, "rw", f"d{number}"])
            case "fids":
                await raw.walk([*place, "rw"])
            case "messages":
                await raw.wstat([*place, "msg"], length=1 << 20)
                place = await begin(raw, "main")
            case _:
                await begin(raw, "main")


async def test_a_connection_too_many_is_turned_away_and_the_others_stay(
    raw: Raw, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with connect(served.port, UNIX):
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert await raw.list("") != []
    assert served.server.traffic.refused == 5
    said = [each for each in caplog.messages if "turned" in each]
    assert said == ["turned 1 clients away: there are 3 connections, as many as may be"]
    await until(lambda: served.server.connections == 2)
    async with connect(served.port, UNIX) as fresh:
        assert await fresh.list("") != []


@contextmanager
def no_collector() -> Iterator[None]:
    """Only what nobody refers to any more goes."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive() -> dict[str, int]:
    """How many objects of the kinds that connections make there are."""
    found = dict.fromkeys((kind.__name__ for kind in KINDS), 0)
    for each in gc.get_objects():
        if isinstance(each, KINDS):
            found[type(each).__name__] += 1
    return found


async def use_everything(port: int) -> None:
    """Transactions, remotes, open files, blocked reads and a conflict, left as they are."""
    async with connect(port, UNIX) as raw:
        place = await begin(raw, "main")
        await raw.create([*place, "rw", "file"], data=bytes(50_000))
        await raw.open([*place, "ctl"], OpenMode.READ_WRITE)
        await raw.open([*place, "rw"])
        await raw.mkdir("remotes/origin")
        await raw.open("remotes/origin/fetch", OpenMode.READ_WRITE)
        for stream in ("head.live", "reflog", "watch/tree.live"):
            fid = await raw.open(f"branch/main/{stream}")
            await raw.read_at(fid, 0, 100) if stream != "reflog" else None
            raw.start(Tread(fid, 0, 100))
        await commit(raw, place)
        await begin(raw, "main")


async def test_what_a_connection_held_goes_with_it_and_not_with_the_collector(
    raw: Raw, served: Served
) -> None:
    await commit_files(raw, "main", {"file": b"content"})
    await use_everything(served.port)
    await until(lambda: served.server.connections == 2)
    with no_collector():
        before, memory = alive(), served.server.memory
        for _ in range(3):
            await use_everything(served.port)
            await until(lambda: served.server.connections == 2)
            await asyncio.sleep(0)
        assert alive() == before
        assert served.server.memory == memory
