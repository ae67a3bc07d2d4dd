"""The server is killed again and again while clients commit: nothing acknowledged is lost.

It packs objects and refs all the time meanwhile.

``DATAKIT_CRASHES`` is the number of kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from datakit_core.client import Database, connect
from datakit_core.errors import DatakitError
from datakit_core.store import CommitId
from tests.support.command import datakit, port_in
from tests.support.git import git

CRASHES = int(os.environ.get("DATAKIT_CRASHES", "3"))
CLIENTS = 4
SERVER = [sys.executable, "-m", "tests.support.maintained"]
BRANCHES = ("one", "two")


@dataclass(slots=True)
class Client:
    """Counts in a file of its own and in those of its branch; keeps what it was told.

    Attributes:
        number: Which client.
        heads: The commits that were acknowledged to it, oldest first.
        counted: The last count that was acknowledged.
        tried: The last count that may be on disk.
    """

    number: int
    heads: list[CommitId] = field(default_factory=list)
    counted: int = 0
    tried: int = 0

    @property
    def branch(self) -> str:
        return BRANCHES[self.number % len(BRANCHES)]

    @property
    def file(self) -> str:
        return f"counter-{self.number}"

    async def count(self, database: Database, counted: Callable[[], None]) -> None:
        """Add one until the connection breaks; ``counted`` is called each time."""
        while True:
            async with database.transaction(self.branch) as transaction:
                there = await transaction.entry(self.file) is not None
                found = int(await transaction.read(self.file)) if there else 0
                assert self.counted <= found <= self.tried
                self.tried = found + 1
                await transaction.write(self.file, b"%d" % self.tried)
                self.heads.append(await transaction.commit(f"count {self.tried}"))
                self.counted = self.tried
                counted()


async def run_until_killed(path: Path, clients: list[Client], moment: float) -> None:
    """Serve, let the clients count, and kill the server a moment after a commit."""
    before, busy = sum(len(client.heads) for client in clients), asyncio.Event()

    def counted() -> None:
        if sum(len(client.heads) for client in clients) >= before + 10:
            busy.set()

    async with datakit(path, command=SERVER) as (process, line):

        async def work(client: Client) -> None:
            try:
                async with connect(f"tcp://127.0.0.1:{port_in(line)}") as database:
                    await client.count(database, counted)
            except (DatakitError, OSError):
                assert process.returncode is not None or await process.wait()

        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(work(client))
            await busy.wait()
            await asyncio.sleep(moment)  # nothing is waited for: the moment is what is random
            process.kill()
            await process.wait()


def check(path: Path, clients: list[Client]) -> None:
    """Everything acknowledged is there, in one line of history for each branch, undamaged."""
    git(path, "fsck", "--full", "--strict")
    for client in clients:
        there = int(git(path, "show", f"{client.branch}:{client.file}"))
        assert client.counted <= there <= client.tried
        # Not by date: commits of one second have no order, unless one is the other's first parent.
        history = git(path, "rev-list", "--first-parent", client.branch).split()
        assert set(client.heads) <= set(history)
        places = [history.index(head) for head in client.heads]
        assert places == sorted(places, reverse=True), "a later head is not an heir of an earlier"


@pytest.mark.timeout(60 + 10 * CRASHES)
async def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, chance = tmp_path / "db.git", random.Random(11)
    clients = [Client(number) for number in range(CLIENTS)]
    for _ in range(CRASHES):
        await run_until_killed(path, clients, chance.uniform(0.001, 0.05))
    async with datakit("--git", path, "--url=tcp://127.0.0.1:0") as (process, line):
        async with connect(f"tcp://127.0.0.1:{port_in(line)}") as database:
            heads = await database.branches()
        assert set(heads) == set(BRANCHES)
        check(path, clients)
        assert [*path.rglob("*.lock")] == [path / "datakit.lock"]  # the server's own
        process.terminate()
        assert await process.wait() == 0
    assert not [*path.glob("datakit.journal-*")]
