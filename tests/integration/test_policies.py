"""When stages run: schedules, expiry, latches, retries, confirmation; and what people decide.

Builds are scripted, and the clock is the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci import shell
from datakit_ci.control import Cancel, Command, Confirm, Pause, Rebuild, Resume
from datakit_ci.docket import BRANCH as CONTROL
from datakit_ci.docket import project_path
from datakit_ci.executors.base import LostBuild
from datakit_ci.outcome import Outcome
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, Status
from datakit_core.errors import InvalidArgument, NoEntry
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.clock import START
from tests.support.databases import BACK_ENDS
from tests.support.executors import holding
from tests.support.world import MAIN, OTHER, World, build, in_turn, job, stands, until

pytestmark = pytest.mark.usefixtures("nonblocking")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield World(database, tmp_path)


PASSED = Outcome(exit_status=0)


class TestSchedules:
    async def test_a_scheduled_stage_runs_again_at_each_moment_on_the_same_key(
        self, world: World
    ) -> None:
        await world.commit({"a": b"a"})
        hourly = shell("hourly", "true", every="1h")
        async with world.engine(hourly) as engine:
            await engine.idle()
            first = await build(engine, "hourly")
            world.clock.advance(hours=1)
            await world.executor.until(lambda: len(world.executor.requests) == 2)
            await engine.idle()
            second = await build(engine, "hourly")
            assert first.id == second.id
            assert first.started is not None
            assert second.started is not None
            assert (second.started - first.started).seconds >= 3600
        assert len(await messages_of(world.database, "results/me-app/hourly")) == 2

    async def test_a_restart_between_two_moments_runs_nothing(self, world: World) -> None:
        await world.commit({"a": b"a"})
        hourly = shell("hourly", "true", every="1h")
        for minutes in (0, 10, 10):
            world.clock.advance(minutes=minutes)
            async with world.engine(hourly) as engine:
                await engine.idle()
        assert len(world.executor.requests) == 1
        world.clock.advance(hours=5)  # moments that were missed are one
        async with world.engine(hourly) as engine:
            await engine.idle()
        assert len(world.executor.requests) == 2

    async def test_a_result_expires_and_is_made_anew(self, world: World) -> None:
        await world.commit({"a": b"a"})
        daily = shell("daily", "true", valid_for="1d")
        async with world.engine(daily) as engine:
            await engine.idle()
            world.clock.advance(hours=23)
            await engine.idle()
            assert len(world.executor.requests) == 1
            world.clock.advance(hours=2)
            await world.executor.until(lambda: len(world.executor.requests) == 2)
            await engine.idle()
        world.clock.advance(hours=25)
        async with world.engine(daily) as engine:
            await engine.idle()
        assert len(world.executor.requests) == 3


class TestLatches:
    async def test_what_follows_uses_the_old_output_while_a_new_one_is_made(
        self, world: World
    ) -> None:
        release = asyncio.Event()
        await world.commit({"a": b"a"})
        site, check = shell("site", "make", latched=True), shell("check", "check")
        async with world.engine(site, check) as engine:
            await engine.idle()
            world.executor.behaviours["site"] = holding(release)
            await world.commit({"a": b"b"})
            await until(engine, stands(engine, "site", Status.RUNNING, "its last output is used"))
            await until(engine, stands(engine, "check", Status.SUCCESS))
            assert job(engine, "site").status is Status.RUNNING
            release.set()
            await until(engine, stands(engine, "site", Status.SUCCESS, "passed"))

    async def test_a_latch_survives_a_restart(self, world: World) -> None:
        await world.commit({"a": b"a"})
        site, check = shell("site", "make", latched=True), shell("check", "check")
        async with world.engine(site, check) as engine:
            await engine.idle()
        await world.commit({"a": b"b"})
        async with world.engine(site, check, pools={"cpu": 0}) as engine:
            await until(engine, stands(engine, "site", Status.WAITING, "its last output is used"))
            await until(engine, stands(engine, "check", Status.SUCCESS))

    async def test_a_new_failure_is_shown(self, world: World) -> None:
        await world.commit({"a": b"a"})
        site = shell("site", "make", latched=True)
        world.executor.behaviours["site"] = in_turn(PASSED, Outcome(failure="no", exit_status=1))
        async with world.engine(site) as engine:
            await engine.idle()
            await world.commit({"a": b"b"})
            await until(engine, stands(engine, "site", Status.FAILURE, "no"))


class TestAutoCancel:
    @pytest.mark.parametrize("auto_cancel", [True, False])
    async def test_a_build_that_nobody_waits_for_is_stopped_or_runs_to_its_end(
        self, world: World, *, auto_cancel: bool
    ) -> None:
        release = asyncio.Event()
        await world.commit({"a": b"a"})
        slow = shell("slow", "make", auto_cancel=auto_cancel)
        world.executor.behaviours["slow"] = holding(release)
        async with world.engine(slow, pools={"cpu": 2}) as engine:
            await world.executor.until(lambda: len(world.executor.running) == 1)
            await world.commit({"a": b"b"})
            await world.executor.until(lambda: len(world.executor.requests) == 2)
            if auto_cancel:
                await world.executor.until(lambda: world.executor.cancelled == ["slow"])
            release.set()
            await engine.idle()
        expected = 1 if auto_cancel else 2
        assert len(await messages_of(world.database, "results/me-app/slow")) == expected


class TestRetries:
    async def test_a_passing_failure_is_tried_again_with_growing_pauses(self, world: World) -> None:
        await world.commit({"a": b"a"})
        flaky = shell("flaky", "curl", retry=2, transient=[75])
        world.executor.behaviours["flaky"] = in_turn(
            Outcome(failure="exit status 75", exit_status=75),
            LostBuild("the machine is gone"),
            PASSED,
        )
        async with world.engine(flaky) as engine:
            await until(
                engine, stands(engine, "flaky", Status.WAITING, "attempt 2 of 3 at 12:00:0")
            )
            assert (await build(engine, "flaky")).reason.endswith("exit status 75")
            world.clock.advance(seconds=3)
            await until(engine, stands(engine, "flaky", Status.WAITING, "attempt 3 of 3"))
            world.clock.advance(seconds=2)
            assert len(world.executor.requests) == 2
            world.clock.advance(seconds=3)
            await engine.idle()
            assert job(engine, "flaky").status is Status.SUCCESS
            assert (await build(engine, "flaky")).details["attempts"] == "3"

    async def test_after_the_last_attempt_it_has_failed_without_a_result(
        self, world: World
    ) -> None:
        await world.commit({"a": b"a"})
        flaky = shell("flaky", "curl", retry=1, transient=[75])
        failed = Outcome(failure="exit status 75", exit_status=75)
        world.executor.behaviours["flaky"] = in_turn(failed, failed)
        async with world.engine(flaky) as engine:
            await until(engine, stands(engine, "flaky", Status.WAITING, "attempt 2"))
            world.clock.advance(seconds=3)
            await engine.idle()
            assert job(engine, "flaky").status is Status.FAILURE
        assert "results/me-app/flaky" not in await world.database.branches()

    async def test_a_real_failure_is_not_tried_again(self, world: World) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["flaky"] = in_turn(Outcome(failure="no", exit_status=1))
        async with world.engine(shell("flaky", "curl", retry=2, transient=[75])) as engine:
            await engine.idle()
            assert job(engine, "flaky").status is Status.FAILURE

    async def test_a_status_that_turns_out_to_pass_makes_old_results_void(
        self, world: World
    ) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["flaky"] = in_turn(
            Outcome(failure="exit status 75", exit_status=75), PASSED
        )
        async with world.engine(shell("flaky", "curl")) as engine:
            await engine.idle()
            assert job(engine, "flaky").status is Status.FAILURE
        async with world.engine(shell("flaky", "curl", transient=[75])) as engine:
            await engine.idle()
            assert job(engine, "flaky").status is Status.SUCCESS

    async def test_what_rests_and_is_not_wanted_any_more_is_forgotten(self, world: World) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["flaky"] = in_turn(LostBuild("gone"), PASSED)
        async with world.engine(shell("flaky", "curl", retry=5)) as engine:
            await until(engine, stands(engine, "flaky", Status.WAITING, "attempt 2"))
            await world.commit({"a": b"b"})
            await engine.idle()
            world.clock.advance(hours=1)
            await engine.idle()
        assert len(world.executor.requests) == 2


ALICE = "alice"


class TestControl:
    async def test_a_dangerous_stage_waits_for_a_person_also_after_a_restart(
        self, world: World
    ) -> None:
        await world.commit({"a": b"a"})
        deploy = shell("deploy", "deploy", level="dangerous")
        async with world.engine(deploy) as engine:
            await engine.idle()
            assert job(engine, "deploy").description == "waits for confirmation by a person"
            assert world.executor.requests == []
        async with world.engine(deploy, pools={"cpu": 0}) as engine:
            await engine.idle()
            done = await engine.control(Confirm(ALICE, job(engine, "deploy").builds[-1]))
            assert done.startswith("confirm deploy of me/app")
            await until(engine, stands(engine, "deploy", Status.WAITING, "pool cpu"))
        async with world.engine(deploy) as engine:
            await engine.idle()
            assert job(engine, "deploy").status is Status.SUCCESS
            assert (await build(engine, "deploy")).details["confirmed by"] == ALICE
            assert engine.rulings().confirmed == {}
            with pytest.raises(InvalidArgument, match="does not wait"):
                await engine.control(Confirm(ALICE, job(engine, "deploy").builds[-1]))
            await engine.control(Rebuild("bob", MAIN))
            await until(engine, stands(engine, "deploy", Status.WAITING, "confirmation"))
        assert len(world.executor.requests) == 1
        assert any("By: alice" in message for message in await messages_of(world.database, CONTROL))

    @pytest.mark.parametrize(
        ("level", "confirm", "runs"),
        [
            ("dangerous", None, True),
            ("mostly_harmless", "dangerous", True),
            ("mostly_harmless", "mostly_harmless", False),
            ("harmless", "harmless", False),
        ],
    )
    async def test_the_configuration_says_from_which_level_on(
        self, world: World, level: str, confirm: str | None, *, runs: bool
    ) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("a", "a", level=level), confirm=confirm) as engine:
            await engine.idle()
        assert bool(world.executor.requests) == runs

    async def test_a_rebuild_is_a_new_commit_on_the_same_key_that_names_its_user(
        self, world: World
    ) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
            first = job(engine, "unit").builds
            await engine.control(Rebuild(ALICE, MAIN, job="unit"))
            await world.executor.until(lambda: len(world.executor.requests) == 2)
            await engine.idle()
            assert job(engine, "unit").builds == first
            assert (await build(engine, "unit")).details["rebuilt by"] == ALICE
            assert engine.rulings().rebuilt == {}
        assert len(await messages_of(world.database, "results/me-app/unit")) == 2
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
        assert len(world.executor.requests) == 2

    async def test_a_rebuild_that_a_restart_interrupts_is_made_up_for(self, world: World) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
        async with world.engine(shell("unit", "unit"), pools={"cpu": 0}) as engine:
            await until(engine, stands(engine, "unit", Status.SUCCESS))
            await engine.control(Rebuild(ALICE, job(engine, "unit").builds[-1]))
            await until(engine, stands(engine, "unit", Status.WAITING))
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
        assert len(world.executor.requests) == 2

    async def test_only_what_failed_is_rebuilt(self, world: World) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["two"] = in_turn(Outcome(failure="no", exit_status=1), PASSED)
        stages = shell("one", "1"), shell("two", "2"), shell("three", "3")
        async with world.engine(*stages) as engine:
            await engine.idle()
            assert job(engine, "three").status is Status.BLOCKED
            await engine.control(Rebuild(ALICE, MAIN, only_failed=True))
            await until(engine, stands(engine, "three", Status.SUCCESS))
            started = [request.spec.name for request in world.executor.requests]
            assert started == ["one", "two", "two", "three"]
            with pytest.raises(InvalidArgument, match="nothing to rebuild"):
                await engine.control(Rebuild(ALICE, MAIN, only_failed=True))

    async def test_a_blocked_job_is_rebuilt_from_what_failed(self, world: World) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["one"] = in_turn(LostBuild("gone"), PASSED)
        async with world.engine(shell("one", "1"), shell("two", "2")) as engine:
            await engine.idle()
            await engine.control(Rebuild(ALICE, MAIN, job="two"))
            await until(engine, stands(engine, "two", Status.SUCCESS))

    async def test_a_cancelled_build_stays_so_until_it_is_rebuilt(self, world: World) -> None:
        await world.commit({"a": b"a"})
        world.executor.behaviours["unit"] = holding(asyncio.Event())
        async with world.engine(shell("unit", "unit")) as engine:
            await world.executor.until(lambda: world.executor.running == ["unit"])
            await until(engine, stands(engine, "unit", Status.RUNNING))
            await engine.control(Cancel(ALICE, job(engine, "unit").builds[-1]))
            await until(engine, stands(engine, "unit", Status.CANCELLED, "cancelled by alice"))
        del world.executor.behaviours["unit"]
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
            assert job(engine, "unit").description == "cancelled by alice"
            await engine.control(Rebuild("bob", MAIN, only_failed=True))
            await until(engine, stands(engine, "unit", Status.SUCCESS))
            await engine.idle()
            assert engine.rulings().cancelled == {}

    async def test_cancelling_a_target_spares_what_another_target_wants(self, world: World) -> None:
        await world.commit({"a": b"a"})
        await world.commit({"a": b"a"}, OTHER)
        async with world.engine(shell("unit", "unit"), pools={"cpu": 0}) as engine:
            await until(engine, stands(engine, "unit", Status.WAITING, "pool"))
            await until(
                engine,
                lambda: (
                    engine.target(OTHER) is not None and bool(job(engine, "unit", OTHER).builds)
                ),
            )
            with pytest.raises(InvalidArgument, match="nothing is under way"):
                await engine.control(Cancel(ALICE, MAIN))
            await world.commit({"a": b"b"})
            await until(
                engine, lambda: job(engine, "unit").builds != job(engine, "unit", OTHER).builds
            )
            await until(engine, stands(engine, "unit", Status.WAITING, "pool"))
            await engine.control(Cancel(ALICE, MAIN))
            await until(engine, stands(engine, "unit", Status.CANCELLED))
            assert job(engine, "unit", OTHER).status is Status.WAITING

    async def test_a_paused_project_starts_nothing_new_and_survives_a_restart(
        self, world: World
    ) -> None:
        release = asyncio.Event()
        await world.commit({"a": b"a"})
        stages = shell("one", "1"), shell("two", "2")
        world.executor.behaviours["one"] = holding(release)
        async with world.engine(*stages) as engine:
            await world.executor.until(lambda: world.executor.running == ["one"])
            assert await engine.control(Pause(ALICE, "me/app")) == "paused me/app"
            release.set()
            await until(engine, stands(engine, "two", Status.WAITING, "paused by alice"))
            await engine.idle()
            with pytest.raises(InvalidArgument, match="paused already, by alice"):
                await engine.control(Pause("bob", "me/app"))
        async with world.engine(*stages) as engine:
            await engine.idle()
            assert job(engine, "two").description == "paused by alice"
            await engine.control(Resume("bob", "me/app"))
            await until(engine, stands(engine, "two", Status.SUCCESS))
            with pytest.raises(InvalidArgument, match="is not paused"):
                await engine.control(Resume("bob", "me/app"))
        subjects = [
            message.partition("\n")[0] for message in await messages_of(world.database, CONTROL)
        ]
        assert subjects == ["Resumed me/app", "Paused me/app"]

    async def test_what_waits_in_a_queue_is_paused_too(self, world: World) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("unit", "unit"), pools={"cpu": 0}) as engine:
            await until(engine, stands(engine, "unit", Status.WAITING, "pool cpu"))
            await engine.control(Pause(ALICE, "me/app"))
            await until(engine, stands(engine, "unit", Status.WAITING, "paused by alice"))
            await engine.control(Resume(ALICE, "me/app"))
            await until(engine, stands(engine, "unit", Status.WAITING, "pool cpu"))

    async def test_a_decision_that_another_program_commits_counts(self, world: World) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("unit", "unit"), pools={"cpu": 0}) as engine:
            await until(engine, stands(engine, "unit", Status.WAITING, "pool cpu"))
            ruling = Ruling("carol", START)
            await commit_files(world.database, CONTROL, {project_path("me/app"): ruling.to_bytes()})
            await until(engine, stands(engine, "unit", Status.WAITING, "paused by carol"))

    async def test_a_damaged_decision_counts_for_nothing(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        await world.commit({"a": b"a"})
        await commit_files(world.database, CONTROL, {project_path("me/app"): b"{", "odd": b"?"})
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
            assert job(engine, "unit").status is Status.SUCCESS
        assert "it is ignored" in caplog.text
        assert set(await files_of(world.database, CONTROL)) == {project_path("me/app"), "odd"}

    @pytest.mark.parametrize(
        ("command", "error"),
        [
            (Pause(ALICE, "me/other"), NoEntry),
            (Cancel(ALICE, OTHER), NoEntry),
            (Rebuild(ALICE, MAIN, job="nothing"), NoEntry),
            (Rebuild(ALICE, BuildId("me/app", "unit", "0" * 64, "0" * 64)), NoEntry),
            (Confirm(ALICE, BuildId("me/app", "unit", "0" * 64, "0" * 64)), NoEntry),
            (Cancel(ALICE, MAIN), InvalidArgument),
        ],
    )
    async def test_a_command_about_nothing_is_refused_and_writes_nothing(
        self, world: World, command: Command, error: type[Exception]
    ) -> None:
        await world.commit({"a": b"a"})
        async with world.engine(shell("unit", "unit")) as engine:
            await engine.idle()
            with pytest.raises(error):
                await engine.control(command)
        assert CONTROL not in await world.database.branches()
