"""After many attacks at once: nothing is left of them, in memory or among the connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random

import pytest

from datakit_core.dbfs.edit import Edit
from datakit_core.ninep.connection import Connection
from datakit_core.ninep.endpoint import TcpEndpoint
from datakit_core.ninep.fids import BoundFid
from datakit_core.ninep.messages import Tclunk, Topen, Tread, Twalk
from datakit_core.ninep.wire import Fid
from tests.support.memory import resident
from tests.support.peer import ONE, ROOT
from tests.support.raw import Raw, connect
from tests.support.scenarios import begin, commit_files
from tests.support.served import Served
from tests.support.waiting import until
from tests.support.wire import RawClient

ROUNDS = 5


def counts() -> dict[str, int]:
    """How many objects of the kinds that clients make are alive."""
    gc.collect()
    kinds = (BoundFid, Connection, Edit)
    found = dict.fromkeys((kind.__name__ for kind in kinds), 0)
    for each in gc.get_objects():
        if isinstance(each, kinds):
            found[type(each).__name__] += 1
    return found


async def open_everything(port: int) -> None:
    """Fids, blocked reads and transactions with a megabyte, and then silence."""
    async with connect(port) as raw:
        for number in range(20):
            place = await begin(raw, f"b{number}")
            await raw.create([*place, "rw", "big"])
            await raw.wstat([*place, "rw", "big"], length=1 << 20)
            raw.start(Tread(await raw.open(["branch", f"b{number}", "head.live"]), 0, 100))
            raw.start(Tread(await raw.open(["branch", f"b{number}", "reflog"]), 0, 100))


async def flood(port: int) -> None:
    """Thousands of messages, none of whose replies are read."""
    wire = await RawClient.connect(TcpEndpoint("127.0.0.1", port))
    await wire.attach(msize=1 << 20)
    wire.send(Twalk(ROOT, ONE, ("branch", "master", "ro", "big")), 1)
    wire.send(Topen(ONE, 0), 1)
    wire.writer.write(wire.encode(Tread(ONE, 0, 1 << 20), 2) * 2_000)
    wire.writer.write(wire.encode(Twalk(ROOT, Fid(7), ("branch",)), 3) * 2_000)
    await asyncio.sleep(0)
    await wire.close()


async def babble(port: int, seed: int) -> None:
    """Half of a session, and then bytes that mean nothing."""
    wire = await RawClient.connect(TcpEndpoint("127.0.0.1", port))
    if seed % 2:
        await wire.attach()
    wire.writer.write(wire.encode(Tclunk(ROOT), 1) + random.Random(seed).randbytes(10_000))
    with contextlib.suppress(ConnectionError):
        await wire.at_end()
    await wire.close()


async def attack(port: int) -> None:
    async with asyncio.TaskGroup() as attackers:
        for seed in range(6):
            attackers.create_task(babble(port, seed))
            attackers.create_task(flood(port))
        for _ in range(2):
            attackers.create_task(open_everything(port))


async def test_the_server_is_as_it_was(
    served: Served, bystander: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    # The records that pytest keeps hold errors, whose tracebacks hold connections.
    caplog.set_level(logging.ERROR, logger="datakit_core.ninep.connection")
    await commit_files(bystander, "master", {"big": bytes(60_000)})
    await until(lambda: served.server.connections == 1)
    before = counts()
    sizes: list[int] = []
    for _ in range(ROUNDS):
        await attack(served.port)
        assert await bystander.read("branch/master/ro/big") == bytes(60_000)
        await until(lambda: served.server.connections == 1)
        gc.collect()  # what a connection held goes with the collector's next full run
        sizes.append(resident())
    assert counts() == before
    assert not served.store._watches._by_head
    # Each round makes transactions of 40 MB. What the allocator keeps, it keeps after the first.
    assert sizes[-1] - sizes[1] < 20 << 20, sizes
