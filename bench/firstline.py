"""From a commit to the first line of its build's log: ``python -m bench firstline``.

A service watches a repository, as ``datakit-ci serve`` does, and a reader in its process waits for
the line that the build of the next commit prints. Counted from the start of
``git add`` and ``git commit``, and from
its end: by then the branch has moved for a few milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from statistics import median

from datakit_ci.engine import Engine
from datakit_ci.service import open_service
from datakit_ci.settings import ServiceSettings
from datakit_ci.state import BuildId
from datakit_ci.target import Target

__all__ = ["commit", "git", "main"]

_COMMITS = 20

_TARGET = Target("me/app", "heads", "main")

_PIPELINES = {
    "shell command": """
from datakit_ci import Config, Project, shell

say = shell("say", "cat word", inputs=["word"])
config = Config(projects=[Project("me/app", lambda target: {"say": say(target.source)})])
""",
    "@stage function": """
from datakit_ci import Config, Project, stage

@stage
def say(source):
    print(source.read("word").decode())
    return {}

config = Config(projects=[Project("me/app", lambda target: {"say": say(target.source)})])
""",
}


def main() -> None:
    """Print the table."""
    print(f"milliseconds to the first line of the log, {_COMMITS} commits")
    print(f"  {'':18}{'from the start of git commit':>32}{'from its end':>24}")
    print(f"  {'':18}{'median':>22}{'slowest':>10}{'median':>14}{'slowest':>10}")
    for title, pipeline in _PIPELINES.items():
        with tempfile.TemporaryDirectory(
            prefix="datakit-bench-", dir=os.environ.get("DATAKIT_BENCH_DIRECTORY")
        ) as scratch:
            times = asyncio.run(_run(Path(scratch), pipeline))
        whole, after = ([1000 * each for each in column] for column in zip(*times, strict=True))
        print(
            f"  {title:18}{median(whole):22.0f}{max(whole):10.0f}"
            f"{median(after):14.0f}{max(after):10.0f}"
        )


async def _run(scratch: Path, pipeline: str) -> list[tuple[float, float]]:
    checkout = scratch / "checkout"
    checkout.mkdir()
    (scratch / "pipeline.py").write_text(pipeline)
    git(checkout, "init", "--quiet", "--initial-branch=main")
    commit(checkout, "first")
    settings = ServiceSettings(
        pipeline=scratch / "pipeline.py",
        work=scratch / "work",
        accounts=scratch / "accounts",
        database=scratch / "database.git",
        repositories=(f"me/app:{checkout}",),
        listen_9p=(),
        web_ui="http://127.0.0.1:0",
    )
    async with open_service(settings) as service:
        await _line(service.engine, "first")
        return [await _measure(service.engine, checkout, f"word {n}") for n in range(_COMMITS)]


async def _measure(engine: Engine, checkout: Path, word: str) -> tuple[float, float]:
    """Seconds from the start and from the end of ``git commit`` to the line."""
    await engine.idle()
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(_line(engine, word))
        began = time.perf_counter()
        await asyncio.to_thread(commit, checkout, word)
        ended = time.perf_counter()
    return reader.result() - began, reader.result() - ended


async def _line(engine: Engine, word: str) -> float:
    """The time at which ``word`` is read in the log of a build of the target."""
    async with aclosing(_builds(engine)) as builds:
        async for build in builds:
            read = b""
            async for data in engine.follow_log(build):
                read += data
                if word.encode() in read:
                    return time.perf_counter()
    raise AssertionError("the engine has ended")


async def _builds(engine: Engine) -> AsyncGenerator[BuildId, None]:
    """Each build of the target from now on, and the last one before."""
    seen: set[BuildId] = set()
    async for _ in engine.changes():
        state = engine.target(_TARGET)
        for build in [each for job in (state.jobs if state else ()) for each in job.builds]:
            if build not in seen:
                seen.add(build)
                yield build


def commit(checkout: Path, word: str) -> None:
    """Change the only file."""
    (checkout / "word").write_text(f"{word}\n")
    git(checkout, "add", "word")
    git(checkout, "commit", "--quiet", "-m", word)


def git(directory: Path, *arguments: str) -> str:
    """Run Git; what it prints."""
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    command = ["git", *who, *arguments]
    done = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()
