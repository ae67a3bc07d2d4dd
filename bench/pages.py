"""Pages of the dashboard with 10,000 targets: p50, p99 and CPU time over HTTP, and memory.

One process serves the pages and asks for them, over a loopback connection that is kept open. The
targets have seven jobs each, as in :mod:`tests.support.ci_scene`, which stands in for an engine.
Between two requests one target changes, as it would on a busy day.
"""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace
from datetime import timedelta

from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.dashboard import create_app
from datakit_ci.target import Target
from tests.support.ci_scene import NOW, Scene, fill
from tests.support.fake_engine import FakeEngine

__all__ = ["main"]

TARGETS = 10_000
ROUNDS = 100

BUILD = fill(FakeEngine()).failed

PAGES = {
    "overview": "/",
    "overview, searched": "/?q=sand%205",
    "a project": "/acme/p7",
    "pull requests": "/pr",
    "pull requests, page 50": "/pr?page=50",
    "branches, searched": "/branch?q=main%20b12",
    "a build": f"/build/{BUILD.path}",
    "a target": "/acme/shop/ref/heads/rounding",
    "pools": "/pools",
}


def main() -> None:
    """Print the table."""
    asyncio.run(_measure())


async def _measure() -> None:
    scene = fill(FakeEngine())
    _add_targets(scene)
    async with TestClient(TestServer(create_app(scene.engine, now=lambda: NOW))) as client:
        print(f"{'ms':28}{'p50':>8}{'p99':>8}{'CPU':>8}{'kB':>8}")
        for name, path in PAGES.items():
            times, size, used = [], 0, time.process_time()
            for number in range(ROUNDS):
                scene.engine.add(replace(scene.red, subject=f"Change {number}"))
                begin = time.perf_counter()
                async with client.get(path) as response:
                    size = len(await response.read())
                    assert response.status == 200, path
                times.append((time.perf_counter() - begin) * 1000)
            each = (time.process_time() - used) * 1000 / ROUNDS
            times = sorted(times[1:])  # the first one works out what is then kept
            print(
                f"{name:28}{times[len(times) // 2]:8.1f}{times[-2]:8.1f}"
                f"{each:8.1f}{size / 1000:8.0f}"
            )
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"memory of the process at most: {used:.0f} MB")


def _add_targets(scene: Scene) -> None:
    states = (scene.green, scene.red, scene.busy, scene.green, scene.green)
    for number in range(TARGETS):
        state = states[number % len(states)]
        kind = ("pr", "heads", "tags")[number % 3]
        name = str(number) if kind == "pr" else f"b{number}"
        scene.engine.add(
            replace(
                state,
                target=Target(f"acme/p{number % 40}", kind, name),
                subject=f"Change the sand of {number}",
                updated=NOW - timedelta(minutes=number),
            )
        )
