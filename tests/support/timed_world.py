"""A world whose commits are made by its own clock, so that a test can go back in its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from datakit_ci import shell
from datakit_ci.engine import Engine
from datakit_ci.outcome import Outcome
from datakit_ci.state import BuildId
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from datakit_core.client.remote import connect
from datakit_core.server import serve_store
from datakit_core.store import InlineWriter, Store
from tests.support.clock import FakeClock
from tests.support.world import World, in_turn, job, settled_at

__all__ = ["DOCS", "LINT", "UNIT", "red_then_green", "timed_world"]

LINT, UNIT, DOCS = (shell(name, name) for name in ("lint", "unit", "docs"))


@asynccontextmanager
async def timed_world(directory: Path, back_end: str = "local") -> AsyncIterator[World]:
    """A database whose commits are made by the clock of its world."""
    clock, path = FakeClock(), directory / "db.git"
    seconds = lambda: clock.now().timestamp()  # noqa: E731
    async with Store.open(path, create=True, writer=InlineWriter, clock=seconds) as store:

        def world(database: Database) -> World:
            made = World(database, directory)
            made.clock = clock
            return made

        if back_end == "local":
            yield world(LocalDatabase(store))
            return
        async with (
            serve_store(store, ["tcp://127.0.0.1:0"]) as server,
            connect(str(server.endpoints[0])) as database,
        ):
            yield world(database)


@asynccontextmanager
async def red_then_green(
    world: World,
) -> AsyncIterator[tuple[Engine, datetime, datetime, BuildId]]:
    """The main branch fails once, and is repaired three days later; that was two hours ago.

    Gives the engine, the moments when it was red and green, and the build that failed.
    """
    world.executor.behaviours["unit"] = in_turn(Outcome(failure="2 tests failed"), Outcome())
    async with world.engine(LINT, UNIT, DOCS) as engine:
        await settled_at(engine, await world.commit({"a": b"1"}))
        broken, red = job(engine, "unit").builds[-1], world.clock.now()
        world.clock.advance(days=3)
        await settled_at(engine, await world.commit({"a": b"2"}))
        green = world.clock.now()
        world.clock.advance(hours=2)
        yield engine, red, green, broken
