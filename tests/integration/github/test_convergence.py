"""Hundreds of rounds of edits on both sides, with restarts, faults and lost answers, end equal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datakit_ci.bridges.github.hub import Unavailable
from datakit_ci.bridges.github.reconcile import pruned
from datakit_ci.bridges.github.scope import NOTHING, WHOLE, Scope
from tests.support.github_chaos import Chaos
from tests.support.github_world import PROJECT, open_world

ROUNDS = int(os.environ.get("DATAKIT_GITHUB_ROUNDS", "120"))


@pytest.mark.parametrize(("seed", "is_app"), [(0, False), (1, False), (2, True)])
async def test_edits_on_both_sides_converge(tmp_path: Path, seed: int, is_app: bool) -> None:
    async with open_world(tmp_path) as world:
        world.is_app = is_app
        world.restart()
        chaos = Chaos(world, seed)
        for _ in range(ROUNDS):
            for _ in range(chaos.random.randrange(4)):
                chaos.on_github()
            for _ in range(chaos.random.randrange(3)):
                await chaos.in_database()
            if chaos.random.random() < 0.1:
                world.restart()
            if chaos.random.random() < 0.15:
                world.hub.faults.extend(chaos.faults())
            try:
                await world.bridge.sync(PROJECT, chaos.random.choice((NOTHING, Scope(), WHOLE)))
            except Unavailable:
                world.restart()
        world.hub.faults.clear()
        for _ in range(3):
            await world.sync()
        assert not await world.sync()
        github = pruned(await world.client.look(PROJECT, WHOLE))
        assert await world.snapshot() == github
        assert bool(world.repository.runs) == is_app
        told = world.repository.status_posts, len(world.repository.run_requests)
        world.restart()
        assert not await world.sync()
        assert (world.repository.status_posts, len(world.repository.run_requests)) == told
