"""Secrets through the whole engine: given to who asks, and in nothing that is seen or stored."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, Secret, TargetTerms, Term, shell
from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.state import BuildState, Status
from datakit_ci.target import Target
from tests.support.branches import commit_files
from tests.support.places import BOTH, Place

pytestmark = BOTH

TOKEN = "/".join(["a-token-that-is", "secret"])
"""Not written out: this file may be in the database itself, as a source of our own pipeline."""

MAIN = Target("me/app", "heads", "main")


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    stages = {
        "use": shell("use", 'test -n "$TOKEN" && echo given', secrets=["TOKEN"]),
        "rename": shell("rename", 'printf %s "$GH" | base64', secrets={"GH": "TOKEN"}),
        "other": shell("other", 'echo "<$TOKEN>"'),
        "print": shell("print", 'echo "$TOKEN"; printf %s "$TOKEN"; exit 3', secrets=["TOKEN"]),
        "leak": shell(
            "leak", 'echo "$TOKEN" > "$TOKEN-x" 2>/dev/null || echo "$TOKEN" > out; cp out o2',
            outputs=["o2"], secrets=["TOKEN"],
        ),
        "absent": shell("absent", "echo never", secrets=["ABSENT"]),
        "told": shell("told", "echo at $DATAKIT_TARGET", facts=["target", "commit"]),
    }  # fmt: skip
    return {name: stage(target.source) for name, stage in stages.items()}


class Run:
    """What an engine came to."""

    def __init__(self, engine: Engine, repository: Path) -> None:
        self.engine = engine
        self.repository = repository

    async def build(self, job: str) -> BuildState:
        state = self.engine.target(MAIN)
        assert state is not None
        build = next(each for each in state.jobs if each.name == job).builds[-1]
        found = await self.engine.build(build)
        assert found is not None
        return found

    async def log(self, job: str) -> str:
        build = await self.build(job)
        pieces = [piece async for piece in self.engine.follow_log(build.id)]
        return b"".join(pieces).decode()


@asynccontextmanager
async def running(place: Place, directory: Path, config: Config) -> AsyncIterator[Run]:
    head = await commit_files(place.database, "source", {"a": b"a"})
    heads = FixedHeads({MAIN: head})
    async with (
        Engine(place.database, config, place.executor, directory / "logs", heads=heads) as made,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(made.run())
        await made.idle()
        yield Run(made, place.repository)
        task.cancel()


@pytest.fixture
async def run(place: Place, tmp_path: Path) -> AsyncIterator[Run]:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    secrets = {"TOKEN": Secret.file(path), "ABSENT": Secret.file(tmp_path / "absent")}
    config = Config(projects=[Project("me/app", jobs)], secrets=secrets, pools={"cpu": 9})
    async with running(place, tmp_path, config) as started:
        yield started


async def test_secrets_reach_who_asks_for_them_and_nothing_else(run: Run) -> None:
    assert (await run.build("use")).status is Status.SUCCESS
    assert await run.log("use") == '$ test -n "$TOKEN" && echo given\ngiven\n'
    assert (await run.log("rename")).splitlines()[1].startswith("***")
    assert (await run.log("other")).splitlines()[1] == "<>"
    printed = await run.build("print")
    assert (printed.status, printed.reason) == (Status.FAILURE, "exited with status 3")
    assert (await run.log("print")).splitlines()[1:] == ["***", "***"]
    leaked = await run.build("leak")
    assert leaked.reason == "the secret TOKEN is in o2; nothing of it was stored"
    absent = await run.build("absent")
    assert absent.status is Status.ERROR
    assert absent.reason.startswith("secret ABSENT: ")
    assert absent.reason.endswith("absent is not there")
    assert (await run.log("told")).splitlines()[1] == "at heads/main"
    assert TOKEN.encode() not in everything_in(run.repository)


def everything_in(repository: Path) -> bytes:
    """The content of every object, reachable or not, and of the files beside them."""
    git = ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"]
    found = subprocess.run(git, check=True, capture_output=True).stdout
    others = [
        path for path in repository.rglob("*") if path.is_file() and "objects" not in path.parts
    ]
    return found + b"".join(path.read_bytes() for path in others)
