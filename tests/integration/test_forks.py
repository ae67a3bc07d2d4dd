"""Pull requests of forks: whose pipeline judges them, what they are given, who lets them run."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci import Config, Project, Secret, TargetTerms, Term, shell
from datakit_ci.control import Approve
from datakit_ci.state import Status
from datakit_core.errors import InvalidArgument
from tests.support.branches import files_of, messages_of
from tests.support.places import BOTH, Place
from tests.support.repository_pipelines import (
    FILES,
    MAIN,
    PATH,
    PIPELINE,
    PULL,
    World,
    job,
    state,
    until,
)

STRANGER = {"owner": "mallory", "base": "main", "state": "open"}

deploy = shell("deploy", 'echo "token: ${TOKEN:-none}" > out', secrets=["TOKEN"], outputs=["out"])


def own_jobs(target: TargetTerms) -> dict[str, Term[object]]:
    """A pipeline of the service's own, with a stage that gets a secret."""
    return {"deploy": deploy(target.source)}


@pytest.fixture
def world(place: Place, tmp_path: Path) -> World:
    return World(place.database, place.executor, tmp_path)


def token(directory: Path) -> dict[str, Secret]:
    path = directory / "token"
    path.write_text("correct horse")
    path.chmod(0o600)
    return {"TOKEN": Secret.file(path)}


async def test_a_forks_request_is_judged_by_the_base_branch_once_approved(world: World) -> None:
    await world.move(FILES)
    evil = PIPELINE.replace("a-z A-Z", "a-z X").replace('"build": built', '"evil": built')
    await world.move(FILES | {PATH: evil, "text": "mine\n"}, PULL, **STRANGER)
    async with world.engine() as engine:
        waiting = await until(engine, "count", Status.WAITING, "approval", PULL)
        assert waiting.description == "waits for approval by a person: a pull request of mallory"
        await engine.idle()
        assert [each.name for each in state(engine, PULL).jobs] == ["build", "count"]
        assert world.recorder.stages == ["build", "count"]  # those of the base branch
        assert (await engine.control(Approve("jo", PULL))).startswith("approve me/app/pr/7 at ")
        await until(engine, "count", Status.SUCCESS, target=PULL)
        assert await world.content(engine, "build", "loud", PULL) == "MINE\n"
    assert (await messages_of(world.database, "control"))[0].endswith("By: jo")


async def test_an_approval_is_of_one_head_and_outlives_a_restart(world: World) -> None:
    await world.move(FILES)
    await world.move(FILES | {"text": "first\n"}, PULL, **STRANGER)
    async with world.engine() as engine:
        await until(engine, "build", Status.WAITING, "approval", PULL)
        await engine.control(Approve("jo", PULL))
        await until(engine, "count", Status.SUCCESS, target=PULL)
        with pytest.raises(InvalidArgument, match=r"approved at .* already, by jo"):
            await engine.control(Approve("al", PULL))
        await engine.idle()
    async with world.engine() as engine:
        await until(engine, "count", Status.SUCCESS, target=PULL)
        assert world.recorder.stages == []
        old = state(engine, PULL).head
        await world.settle(engine, {"text": "second\n"}, PULL)
        assert "waits for approval" in job(engine, "build", PULL).description
        assert world.recorder.stages == []
        with pytest.raises(InvalidArgument, match="is at another commit by now"):
            await engine.control(Approve("jo", PULL, old))
    kept = [path for path in await files_of(world.database, "control") if "approved" in path]
    assert len(kept) == 1


async def test_a_project_may_ask_once_for_each_request(world: World) -> None:
    project = Project("me/app", pipeline=PATH, forks="approve_once")
    await world.move(FILES)
    await world.move(FILES | {"text": "first\n"}, PULL, **STRANGER)
    async with world.engine(project=project) as engine:
        await until(engine, "build", Status.WAITING, "approval", PULL)
        await engine.control(Approve("jo", PULL))
        await until(engine, "build", Status.SUCCESS, target=PULL)
        await world.settle(engine, {"text": "second\n"}, PULL)
        assert await world.content(engine, "build", "loud", PULL) == "SECOND\n"


async def test_a_project_may_leave_forks_untested_or_trust_them(world: World) -> None:
    await world.move(FILES)
    mine = PIPELINE.replace('"build": built', '"mine": built')
    await world.move(FILES | {PATH: mine}, PULL, **STRANGER)
    async with world.engine(project=Project("me/app", pipeline=PATH, forks="never")) as engine:
        await engine.idle()
        assert job(engine, "pipeline", PULL).description == "pull requests of forks are not tested"
        with pytest.raises(InvalidArgument, match="does not wait for approval"):
            await engine.control(Approve("jo", PULL))
    async with world.engine(project=Project("me/app", pipeline=PATH, forks="trusted")) as engine:
        await engine.idle()
        assert job(engine, "mine", PULL).status is Status.SUCCESS


@pytest.mark.parametrize(
    ("facts", "is_fork"),
    [
        ({"owner": "me"}, False),
        ({"owner": "ME"}, False),
        ({"owner": "you"}, True),
        ({}, True),
        ({"owner": "me", "fork": "true"}, True),
        ({"owner": "org-member", "fork": "false"}, False),
    ],
)
@BOTH
async def test_a_request_is_a_forks_unless_it_says_where_it_comes_from(
    world: World, facts: dict[str, str], is_fork: bool
) -> None:
    await world.move({"text": "a"}, PULL, base="main", **facts)
    project = Project("me/app", own_jobs)
    async with world.engine(project=project, secrets={"TOKEN": Secret.env("NO_SUCH")}) as engine:
        await engine.idle()
        assert ("approval" in job(engine, "deploy", PULL).description) is is_fork


@BOTH
async def test_an_approved_fork_gets_no_secret_and_its_result_is_nobody_elses(
    world: World, tmp_path: Path
) -> None:
    project = Project("me/app", own_jobs)
    await world.move({"text": "same"}, PULL, **STRANGER)
    async with world.engine(project=project, secrets=token(tmp_path)) as engine:
        await until(engine, "deploy", Status.WAITING, "approval", PULL)
        await engine.control(Approve("jo", PULL))
        await until(engine, "deploy", Status.SUCCESS, target=PULL)
        assert await world.content(engine, "deploy", "out", PULL) == "token: none\n"
        assert all(not request.secrets for request in world.recorder.requests)
        # The very same tree on a branch of the repository: it runs, and does get the secret.
        await world.settle(engine, {"text": "same"}, MAIN)
        assert len(world.recorder.requests) == 2
        assert list(world.recorder.requests[-1].secrets) == ["TOKEN"]
        builds = {job(engine, "deploy", target).builds for target in (MAIN, PULL)}
        assert len(builds) == 2


async def test_what_is_said_of_a_request_counts_when_it_changes(world: World) -> None:
    await world.move(FILES)
    other = PIPELINE.replace('"build": built', '"other": built')
    await world.move(FILES | {PATH: other}, PULL, owner="me", base="main")
    async with world.engine() as engine:
        await until(engine, "other", Status.SUCCESS, target=PULL)
        await world.move({}, PULL, owner="you")
        await until(engine, "build", Status.WAITING, "approval", PULL)


async def test_a_new_head_of_the_base_branch_judges_the_request_anew(world: World) -> None:
    await world.move(FILES)
    await world.move(FILES, PULL, **STRANGER)
    async with world.engine() as engine:
        await until(engine, "build", Status.WAITING, "approval", PULL)
        await world.move({PATH: PIPELINE.replace('"build": built', '"renamed": built')})
        await until(engine, "renamed", Status.WAITING, "approval", PULL)


async def test_a_fork_for_a_branch_that_is_not_there_is_not_tested(world: World) -> None:
    await world.move(FILES, PULL, **(STRANGER | {"base": "gone"}))
    async with world.engine() as engine:
        await engine.idle()
        assert "there is no heads/gone in me/app" in job(engine, "pipeline", PULL).description
        assert world.recorder.requests == []


def test_a_project_has_either_a_function_or_a_file(tmp_path: Path) -> None:
    for wrong, text in [
        ({}, "give either jobs"),
        ({"jobs": own_jobs, "pipeline": PATH}, "give either jobs"),
        ({"pipeline": "ci/pipeline"}, "must be a Python file, such as"),
        ({"pipeline": "../ci/pipeline.py"}, "pipeline: "),
        ({"pipeline": PATH, "forks": "maybe"}, "'maybe' is none of approve, approve_once"),
    ]:
        with pytest.raises(Exception, match=text):
            Config(projects=[Project("me/app", **wrong)])  # type: ignore[arg-type]
