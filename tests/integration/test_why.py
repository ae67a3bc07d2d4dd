"""Why jobs ran, did not run, or wait: asked of an engine, and of nothing but its database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci import matrix, shell
from datakit_ci.control import Cancel, Pause, Rebuild
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, LostBuild
from datakit_ci.explanation import JobWhy, Reason, ReasonKind, Verdict
from datakit_ci.inquiry import Inquiry
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import Status
from datakit_ci.trace import Question, QuestionKind
from datakit_core.errors import NoEntry
from tests.support.databases import BACK_ENDS
from tests.support.executors import holding
from tests.support.git import git
from tests.support.world import MAIN, OTHER, World, build, in_turn, job, settled_at, stands, until

pytestmark = pytest.mark.usefixtures("nonblocking")

DUE = ReasonKind.DUE
"""What only an engine can know, for the pipeline is its own."""

HOURLY = shell("hourly", "true", every="0 * * * *", valid_for="1d")
DAILY = shell("daily", "true", valid_for="1d")
UNIT = shell("unit", "unit", inputs=["src"])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield World(database, tmp_path)


async def asked(world: World, engine: Engine, name: str = "unit") -> JobWhy:
    """Why a job stands so: the engine and its database agree about what is recorded."""
    found = await engine.why(MAIN, name)
    steps = [
        replace(step, reasons=tuple(each for each in step.reasons if each.kind is not DUE))
        for step in found.steps
    ]
    found = replace(found, steps=tuple(steps))
    assert await Inquiry(world.database).job(MAIN, name) == found
    return found


def only(found: JobWhy) -> tuple[Verdict, Reason]:
    (step,) = found.steps
    (reason,) = step.reasons
    return step.verdict, reason


async def test_the_story_of_a_stage_from_its_first_run_to_a_rebuild(world: World) -> None:
    first = await world.commit({"src/a.py": b"1", "docs/x": b"x"})
    async with world.engine(UNIT) as engine:
        await engine.idle()
        verdict, reason = only(await asked(world, engine))
        assert (verdict, reason.kind) == (Verdict.RAN, ReasonKind.FIRST)

        await settled_at(engine, await world.commit({"docs/x": b"y"}))
        verdict, reason = only(await asked(world, engine))
        assert (verdict, reason.kind) == (Verdict.SERVED, ReasonKind.SERVED)
        assert f"for me/app/ref/heads/main at {first[:7]} will do" in reason.text

        await settled_at(engine, await world.commit({"src/a.py": b"2"}))
        verdict, reason = only(await asked(world, engine))
        assert (verdict, reason.kind) == (Verdict.RAN, ReasonKind.OBSERVATION)
        assert (reason.subject, len(reason.old), len(reason.new)) == ("src", 7, 7)
        assert reason.text == f"src changed from {reason.old} to {reason.new}"

        await engine.control(Rebuild("alice", MAIN, "unit"))
        await world.executor.until(lambda: len(world.executor.requests) == 3)
        await engine.idle()
        verdict, reason = only(await asked(world, engine))
        assert (reason.kind, reason.text) == (ReasonKind.REBUILD, "rebuild by alice")
        explained = await engine.why_build(job(engine, "unit").builds[-1])
        assert explained is not None
        assert explained.reasons == (reason,)
    async with world.engine(shell("unit", "unit -v", inputs=["src"])) as engine:
        await engine.idle()
        verdict, reason = only(await asked(world, engine))
        assert (reason.kind, reason.text) == (
            ReasonKind.STAGE,
            "command changed from unit to unit -v",
        )


async def test_what_a_function_looked_at_is_told_by_question(world: World) -> None:
    async def look(request: BuildRequest, log: Sink) -> Outcome:
        kinds = {"src/a.py": QuestionKind.FILE, "docs/*.md": QuestionKind.GLOB}
        questions = tuple(Question(kind, path) for path, kind in kinds.items())
        return Outcome(exit_status=0, questions=questions)

    world.executor.behaviours["unit"] = look
    await world.commit({"src/a.py": b"1", "docs/a.md": b"a", "else": b"1"})
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
        await settled_at(
            engine, await world.commit({"docs/new.md": b"n", "src/a.py": b"2", "else": b"2"})
        )
        (step,) = (await asked(world, engine)).steps
        texts = [reason.text for reason in step.reasons]
        assert texts[0].startswith("src/a.py changed from ")
        assert texts[1:] == ["glob docs/*.md: + docs/new.md"]
        assert step.before is not None


async def test_another_branch_is_served_and_compared_with_the_stage_s_newest_result(
    world: World,
) -> None:
    head = await world.commit({"src/a.py": b"1"})
    async with world.engine(UNIT) as engine:
        await engine.idle()
        await settled_at(engine, await world.commit({"src/a.py": b"1", "more": b"m"}, OTHER), OTHER)
        verdict, reason = only(await engine.why(OTHER, "unit"))
        assert verdict is Verdict.SERVED
        assert f"for me/app/ref/heads/main at {head[:7]}" in reason.text
        await settled_at(engine, await world.commit({"src/a.py": b"3"}, OTHER), OTHER)
        verdict, reason = only(await engine.why(OTHER, "unit"))
        assert (verdict, reason.kind) == (Verdict.RAN, ReasonKind.OBSERVATION)


async def test_a_cell_of_a_matrix_is_compared_with_the_same_cell(world: World) -> None:
    cells = matrix(UNIT, DB=["sqlite", "postgres"])
    await world.commit({"src/a.py": b"1"})
    async with world.engine_of(lambda target: cells.jobs(target.source)) as engine:
        await engine.idle()
        await settled_at(engine, await world.commit({"src/a.py": b"2"}))
        for name in ("unit/sqlite", "unit/postgres"):
            verdict, reason = only(await asked(world, engine, name))
            assert (verdict, reason.kind, reason.subject) == (
                Verdict.RAN,
                ReasonKind.OBSERVATION,
                "src",
            )
        await settled_at(engine, await world.commit({"src/a.py": b"3"}, OTHER), OTHER)
        explained = await engine.why_build(job(engine, "unit/postgres", OTHER).builds[-1])
        assert explained is not None
        assert [each.subject for each in explained.reasons] == ["src"]


async def test_a_result_that_was_not_kept_is_why_it_ran_again(world: World) -> None:
    await world.commit({"src/a.py": b"1"})
    async with world.engine(UNIT) as engine:
        await engine.idle()
    await world.database.remove_branch("results/me-app/unit")
    world.clock.advance(days=365 * 100)  # later than the history was recorded
    async with world.engine(UNIT) as engine:
        await engine.idle()
        assert only(await asked(world, engine))[1].kind is ReasonKind.REMOVED


async def test_expiry_and_schedule_say_so(world: World) -> None:
    await world.commit({"a": b"a"})
    stages = shell("daily", "true", valid_for="1d"), shell("hourly", "true", every="1h")
    async with world.engine(*stages) as engine:
        await engine.idle()
        world.clock.advance(hours=25)
        await world.executor.until(lambda: len(world.executor.requests) == 4)
        await engine.idle()
        assert only(await asked(world, engine, "daily"))[1].kind is ReasonKind.EXPIRED
        assert only(await asked(world, engine, "hourly"))[1].kind is ReasonKind.SCHEDULE


async def test_it_is_said_when_a_stage_runs_next(world: World) -> None:
    await world.commit({"a": b"a"})
    async with world.engine(HOURLY, DAILY, UNIT) as engine:
        await engine.idle()
        told = {
            name: [each.text for each in (await engine.why(MAIN, name)).steps[0].reasons][1:]
            for name in ("hourly", "daily", "unit")
        }
    assert told["hourly"] == ["it runs next at 2026-03-04 13:00:00 UTC"]
    assert told["daily"] == ["it runs next at 2026-03-05 12:00:00 UTC"]
    assert told["unit"] == []


async def test_a_failure_upstream_is_what_a_blocked_job_is_led_to(world: World) -> None:
    await world.commit({"a": b"a"})
    world.executor.behaviours["one"] = in_turn(Outcome(failure="no", exit_status=1))
    async with world.engine(shell("one", "1"), shell("two", "2")) as engine:
        await engine.idle()
        found = await engine.why(MAIN, "two")
        assert found.status is Status.BLOCKED
        labels = [(step.label, step.verdict) for step in found.steps]
        assert labels == [("two", Verdict.ENDED), ("one", Verdict.RAN)]
        assert found.steps[0].reasons[0].kind is ReasonKind.UPSTREAM
        offline = await Inquiry(world.database).job(MAIN, "two")
        assert offline.steps == found.steps[1:]


async def test_what_waits_says_for_what_and_who_has_it(world: World) -> None:
    release = asyncio.Event()
    await world.commit({"a": b"a"})
    world.executor.behaviours["slow"] = holding(release)
    slow = shell("slow", "slow", locks=["db"])
    async with world.engine(slow, pools={"cpu": 1}) as engine:
        await world.executor.until(lambda: world.executor.running == ["slow"])
        await until(engine, stands(engine, "slow", Status.RUNNING))
        await world.commit({"a": b"other"}, OTHER)
        await until(engine, stands(engine, "slow", Status.WAITING, "waiting", OTHER))
        (step,) = (await engine.why(OTHER, "slow")).steps
        running = job(engine, "slow").builds[-1]
        assert [(reason.kind, reason.builds) for reason in step.reasons] == [
            (ReasonKind.LOCK, (running,)),
            (ReasonKind.POOL, (running,)),
        ]
        assert (await engine.why(MAIN, "slow")).steps[0].verdict is Verdict.RUNS
        await engine.control(Cancel("alice", MAIN))
        await until(engine, stands(engine, "slow", Status.CANCELLED))
        verdict, reason = only(await engine.why(MAIN, "slow"))
        assert (verdict, reason.kind, reason.user) == (
            Verdict.ENDED, ReasonKind.CANCELLED, "alice",
        )  # fmt: skip
        release.set()
        await engine.idle()


async def test_pauses_confirmations_and_retries_are_named(world: World) -> None:
    await world.commit({"a": b"a"})
    world.executor.behaviours["flaky"] = in_turn(LostBuild("gone"), Outcome(exit_status=0))
    flaky, deploy = shell("flaky", "flaky", retry=1), shell("deploy", "deploy", level="dangerous")
    async with world.engine(flaky, deploy) as engine:
        await until(engine, stands(engine, "flaky", Status.WAITING, "attempt 2"))
        assert only(await engine.why(MAIN, "flaky"))[1].kind is ReasonKind.RETRY
        waits = await engine.why(MAIN, "deploy")
        assert [step.label for step in waits.steps] == ["deploy", "flaky"]
        world.clock.advance(seconds=3)
        await engine.idle()
        verdict, reason = only(await engine.why(MAIN, "deploy"))
        assert (verdict, reason.kind) == (Verdict.WAITS, ReasonKind.CONFIRMATION)
        await engine.control(Pause("alice", "me/app"))
        await until(engine, stands(engine, "deploy", Status.WAITING, "paused by alice"))
        reason = only(await engine.why(MAIN, "deploy"))[1]
        assert (reason.kind, reason.user, reason.subject) == (ReasonKind.PAUSE, "alice", "me/app")
        await engine.idle()
        offline = only(await Inquiry(world.database).job(MAIN, "deploy"))[1]
        assert offline == reason


async def test_there_is_no_answer_about_what_is_not_there(world: World) -> None:
    await world.commit({"a": b"a"})
    async with world.engine(UNIT) as engine:
        await engine.idle()
        for ask in (engine.why, Inquiry(world.database).job):
            with pytest.raises(NoEntry, match="has no job nope"):
                await ask(MAIN, "nope")
            with pytest.raises(NoEntry, match="me/app/ref/heads/other"):
                await ask(OTHER, "unit")
        unknown = (await build(engine, "unit")).id
        assert await engine.why_build(type(unknown)("me/app", "x", "0" * 64, "0" * 64)) is None


async def test_the_command_answers_from_a_clone(world: World, tmp_path: Path) -> None:
    await world.commit({"src/a.py": b"1"})
    async with world.engine(UNIT) as engine:
        await engine.idle()
        await settled_at(engine, await world.commit({"src/a.py": b"2"}))
        expected = await asked(world, engine)
    clone = tmp_path / "clone.git"
    git(tmp_path, "clone", "-q", "--mirror", str(tmp_path / "db.git"), str(clone))

    def why(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "datakit_ci", "why", "me/app/heads/main", *arguments]
        return subprocess.run(
            [*command, "--git", str(clone)], capture_output=True, text=True, check=False
        )

    done = await asyncio.to_thread(why, "unit")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("unit of me/app/ref/heads/main: success: passed")
    assert "    src changed from " in done.stdout
    done = await asyncio.to_thread(why, "unit", "--json")
    assert json.loads(done.stdout) == expected.to_json()
    done = await asyncio.to_thread(why, "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no job nope; its jobs: unit" in done.stderr
