"""Pipelines in the repository that they test: real engine, real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci import Project, Secret
from datakit_ci.control import Pause
from datakit_ci.state import Status
from datakit_ci.target import Target
from tests.support.branches import files_of
from tests.support.places import BOTH, Place
from tests.support.repository_pipelines import (
    FILES,
    MAIN,
    PATH,
    PIPELINE,
    WORDS,
    World,
    build,
    job,
    state,
    until,
)

OTHER = Target("me/app", "heads", "other")

FORGED = """
import os
from pathlib import Path

outputs = Path(os.environ["HOME"]).parent / "outputs"
outputs.mkdir()
graph = '{"version":2,"nodes":[{"op":"bind","inputs":[]}],"jobs":[["a",0]]}'
(outputs / "graph.json").write_text(graph)
ending = b'{"exit_status":null,"questions":null,"reason":"","verdict":"passed"}'
for descriptor in range(3, 20):
    try:
        os.write(descriptor, ending + bytes([10]))
    except OSError:
        pass
os._exit(0)
"""


@pytest.fixture
def world(place: Place, tmp_path: Path) -> World:
    return World(place.database, place.executor, tmp_path)


@BOTH
async def test_a_target_is_judged_by_the_pipeline_in_its_own_tree(world: World) -> None:
    await world.move(FILES)
    async with world.engine() as engine:
        await engine.idle()
        assert [each.name for each in state(engine).jobs] == ["build", "count"]
        assert await world.content(engine, "count", "count") == "2"
    statuses = await files_of(world.database, "github-metadata")
    assert sum("status/ci/datakit/" in path and path.endswith("/state") for path in statuses) == 2


async def test_after_a_restart_neither_the_pipeline_nor_its_stages_run_again(world: World) -> None:
    await world.move(FILES)
    async with world.engine() as engine:
        await engine.idle()
        assert world.recorder.drafts == 1
    async with world.engine() as engine:
        await engine.idle()
        assert job(engine, "count").status is Status.SUCCESS
        assert world.recorder.requests == []


async def test_a_commit_beside_the_pipeline_does_not_import_it_again(world: World) -> None:
    await world.move(FILES)
    async with world.engine() as engine:
        await engine.idle()
        world.recorder.requests.clear()
        await world.settle(engine, {"text": "one two three\n"})
        assert await world.content(engine, "count", "count") == "3"
        assert (world.recorder.drafts, world.recorder.stages) == (0, ["build", "count"])


async def test_a_branch_changes_its_own_pipeline_and_no_other(world: World) -> None:
    await world.move(FILES)
    await world.move(FILES | {PATH: PIPELINE.replace("a-z A-Z", "a-z X")}, OTHER)
    async with world.engine() as engine:
        await engine.idle()
        assert await world.content(engine, "build", "loud") == "ONE TWO\n"
        assert await world.content(engine, "build", "loud", OTHER) == "XXX XXX\n"
        renamed = PIPELINE.replace('"count": count', '"words": count')
        await world.settle(engine, {PATH: renamed}, OTHER)
        assert [each.name for each in state(engine, OTHER).jobs] == ["build", "words"]
        assert [each.name for each in state(engine).jobs] == ["build", "count"]


@BOTH
async def test_only_the_stages_whose_code_has_changed_run_again(world: World) -> None:
    await world.move(FILES)
    async with world.engine() as engine:
        await engine.idle()
        world.recorder.requests.clear()
        await world.settle(engine, {PATH: f"# A comment.\n{PIPELINE}"})
        assert (world.recorder.drafts, world.recorder.stages) == (1, [])
        await world.settle(engine, {"ci/words.py": WORDS.replace("len(", "10 * len(")})
        assert world.recorder.stages == ["count"]
        assert await world.content(engine, "count", "count") == "20"


async def test_a_mistake_is_the_targets_own_and_names_the_line(world: World) -> None:
    await world.move(FILES)
    await world.move(FILES | {PATH: PIPELINE + "\nthis is no Python\n"}, OTHER)
    async with world.engine() as engine:
        await engine.idle()
        found = job(engine, "pipeline", OTHER)
        assert found.status is Status.FAILURE
        assert found.description == "ci/pipeline.py:15: syntax error: invalid syntax"
        assert job(engine, "count").status is Status.SUCCESS
        unknown = PIPELINE.replace("return {", "return {'a': nothing, ")
        await world.settle(engine, {PATH: unknown}, OTHER)
        text = "ci/pipeline.py:13: NameError: name 'nothing' is not defined"
        assert job(engine, "pipeline", OTHER).description == text
        failed = (await build(engine, "pipeline", OTHER)).id
        log = b"".join([piece async for piece in engine.follow_log(failed)])
        assert b"return {'a': nothing" in log
        await world.settle(engine, {PATH: PIPELINE}, OTHER)
        assert [each.name for each in state(engine, OTHER).jobs] == ["build", "count"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("import os\nos._exit(3)", Status.ERROR, "ended with status 3 and no result"),
        ("raise SystemExit(0)", Status.FAILURE, "ci/pipeline.py:1: SystemExit: 0"),
        ("x = 1", Status.FAILURE, "ci/pipeline.py: there is no function jobs"),
        ("def jobs(target):\n    return 3", Status.FAILURE, "jobs returned int"),
        (
            "from datakit_ci import return_, all_\n"
            "def jobs(target):\n    return {'a': all_(return_(i) for i in range(6000))}",
            Status.FAILURE,
            "6001 nodes; 5000 are the most",
        ),
        (
            "from datakit_ci import shell\na = shell('a', 'true', pool='gpu')\n"
            "def jobs(target):\n    return {'a': a(target.source)}",
            Status.FAILURE,
            "wants pool gpu, which is not declared",
        ),
        (
            "from datakit_ci import shell\na = shell('a', 'true', secrets=['TOKEN'])\n"
            "def jobs(target):\n    return {'a': a(target.source)}",
            Status.FAILURE,
            "wants secret TOKEN, which a pipeline in the repository may not have",
        ),
        (
            "from datakit_ci import branch\ndef jobs(target):\n    return {'a': branch('control')}",
            Status.FAILURE,
            "is not the project's own",
        ),
        (
            "from datakit_ci import branch_head\n"
            "def jobs(target):\n    return {'a': branch_head('you/secret', 'main')}",
            Status.FAILURE,
            "you/secret/ref/heads/main is another project's",
        ),
        (
            "import os, sys\n"
            "def jobs(target):\n    raise ValueError(sorted(os.environ), sys.stdin.read())",
            Status.FAILURE,
            "ValueError: (['CI', 'DATAKIT_CI', 'DATAKIT_PROJECT', 'DATAKIT_STAGE', "
            "'GIT_CEILING_DIRECTORIES', 'HOME', 'LANG', 'PATH', 'TERM', 'TMPDIR'], '')",
        ),
    ],
)
async def test_what_no_pipeline_may_do_ends_with_a_message(
    world: World, body: str, status: Status, text: str
) -> None:
    await world.move({PATH: body})
    token = {"TOKEN": Secret.env("PATH")}
    async with world.engine(secrets=token) as engine:
        await engine.idle()
        found = job(engine, "pipeline")
        assert (found.status, text in found.description) == (status, True), found.description


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "def jobs(target):\n    return {'a': target.head.map(lambda head: [][0])}",
            "ci/pipeline.py:2: IndexError: list index out of range",
        ),
        (
            "def jobs(target):\n    return {'a': target.head.bind(len)}",
            "bind's function made 40, not a term",
        ),
        (
            "from datakit_ci import shell\n"
            "def jobs(target):\n    return {'a': target.head.bind(\n"
            "        lambda _: shell('a', 'true', secrets=['TOKEN'])(target.source))}",
            "wants secret TOKEN, which a pipeline in the repository may not have",
        ),
        (
            "from datakit_ci import Tree\n"
            "def jobs(target):\n    return {'a': target.head.map(lambda head: Tree(head))}",
            "a tree that it was not given",
        ),
    ],
)
async def test_what_no_function_may_do_is_a_failure_of_its_job(
    world: World, body: str, text: str
) -> None:
    await world.move({PATH: f"{body}\n"})
    async with world.engine(secrets={"TOKEN": Secret.env("PATH")}) as engine:
        await engine.idle()
        found = job(engine, "a")
        assert (found.status, text in found.description) == (Status.FAILURE, True), found


async def test_an_import_without_end_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datakit_ci.verdict._SECONDS", 3.0)
    await world.move({PATH: "while True:\n    try:\n        x = 1\n    except: pass"})
    await world.move(FILES, OTHER)
    async with world.engine() as engine:
        await engine.idle()
        found = job(engine, "pipeline")
        assert found.status is Status.FAILURE
        assert found.description == "took longer than 3 s and was killed"
        assert job(engine, "count", OTHER).status is Status.SUCCESS


async def test_a_pipeline_that_takes_much_memory_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datakit_ci.verdict._MEMORY", 150_000_000)
    await world.move({PATH: "import time\nx = bytearray(b'x' * 300_000_000)\ntime.sleep(30)"})
    async with world.engine() as engine:
        await engine.idle()
        assert "bytes of memory" in job(engine, "pipeline").description


async def test_a_target_without_the_file_says_so(world: World) -> None:
    head = await world.move({"text": "no pipeline"})
    async with world.engine() as engine:
        await engine.idle()
        found = job(engine, "pipeline")
        assert found.status is Status.ERROR
        assert found.description == f"there is no ci/pipeline.py in {head[:12]}"


async def test_what_a_process_writes_in_place_of_a_graph_is_refused(world: World) -> None:
    await world.move({PATH: FORGED})
    async with world.engine() as engine:
        await engine.idle()
        found = job(engine, "pipeline")
        assert found.status is Status.ERROR
        assert "what is no graph: 'bind' is no operation" in found.description


@BOTH
async def test_secrets_go_to_the_stages_of_a_project_that_may_have_them(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("correct horse")
    (tmp_path / "token").chmod(0o600)
    await world.move(
        {
            PATH: "from datakit_ci import shell\n"
            "a = shell('a', 'printf %s \"$TOKEN\" | wc -c > n', secrets=['TOKEN'], outputs=['n'])\n"
            "def jobs(target):\n    return {'a': a(target.source)}"
        }
    )
    project = Project("me/app", pipeline=PATH, secrets=["TOKEN"])
    secrets = {"TOKEN": Secret.file(tmp_path / "token")}
    async with world.engine(project=project, secrets=secrets) as engine:
        await engine.idle()
        assert (await world.content(engine, "a", "n")).strip() == "13"


async def test_while_a_project_is_paused_its_jobs_are_known_and_held(world: World) -> None:
    await world.move({"text": "nothing yet"})
    async with world.engine() as engine:
        await engine.idle()
        await engine.control(Pause("jo", "me/app"))
        await world.move(FILES)
        held = await until(engine, "build", Status.WAITING, "paused by jo")
        assert held.name == "build"
        assert world.recorder.stages == []


DYNAMIC = """
from datakit_ci import gate, map_list, matrix, pair, shell, state

unit = shell("unit", 'echo "$PYTHON on $DB" > said', outputs=["said"])

def jobs(target):
    found = ["3.11", "3.12"]
    several = target.head.map(lambda head: [*found, head[:1]], "versions")
    cells = matrix(unit, PYTHON=several, DB=["lite"])(target.source)
    def one(version):
        return unit(gate(target.source, cells), PYTHON=version, DB="big")
    return {
        "cells": cells,
        "each": map_list(several, one),
        "nested": several.bind(lambda all_: map_list(target.head.map(lambda _: all_), one)),
        "count": cells.map(len),
        "state": pair(state(cells), target.head).map(lambda both: type(both[0]).__name__),
    }
"""


@BOTH
async def test_functions_of_a_pipeline_are_called_where_it_is_imported(world: World) -> None:
    await world.move({PATH: DYNAMIC})
    async with world.engine() as engine:
        await engine.idle()
        found = {each.name: each.status for each in state(engine).jobs}
        assert set(found.values()) == {Status.SUCCESS}, state(engine).jobs
        assert world.recorder.stages == ["unit"] * 6
        drafts = world.recorder.drafts
        assert drafts > 5
    async with world.engine() as engine:
        await engine.idle()
        assert {each.status for each in state(engine).jobs} == {Status.SUCCESS}
        assert world.recorder.requests == []


async def test_what_a_function_makes_follows_its_value(world: World) -> None:
    text = """
from datakit_ci import map_list, shell

say = shell("say", 'echo "$WORD" > said', outputs=["said"])

def jobs(target):
    return {"say": map_list(target.head.map(lambda head: sorted(set(head[:2]))),
                            lambda digit: say(target.source, WORD=digit))}
"""
    head = await world.move({PATH: text, "text": "a"})
    async with world.engine() as engine:
        for content in ("b", "c"):
            await engine.idle()
            said = [build for build in job(engine, "say").builds if build.stage == "say"]
            assert len(said) == len(set(head[:2]))
            assert job(engine, "say").status is Status.SUCCESS
            head = await world.settle(engine, {"text": content})


@BOTH
async def test_a_pipeline_may_lie_at_the_root_with_the_modules_there(world: World) -> None:
    files = {"pipeline.py": PIPELINE, "words.py": WORDS, "text": "one two\n", "deep/x.py": "1"}
    await world.move(files)
    project = Project("me/app", pipeline="pipeline.py")
    async with world.engine(project=project) as engine:
        await engine.idle()
        assert await world.content(engine, "count", "count") == "2"
        assert world.recorder.drafts == 1
        world.recorder.requests.clear()
        await world.settle(engine, {"text": "one two three\n", "deep/x.py": "2"})
        assert await world.content(engine, "count", "count") == "3"
        assert (world.recorder.drafts, world.recorder.stages) == (0, ["build", "count"])
        await world.settle(engine, {"words.py": WORDS.replace("len(", "10 * len(")})
        assert await world.content(engine, "count", "count") == "30"
        assert world.recorder.drafts == 1


async def test_a_pipeline_from_a_tree_sees_the_target(world: World) -> None:
    await world.move(
        {
            PATH: "from datakit_ci import Term, shell, return_\n"
            "def jobs(target):\n"
            "    return {target.target.name: return_(1), 'at': target.head}"
        }
    )
    async with world.engine() as engine:
        await engine.idle()
        assert [each.name for each in state(engine).jobs] == [MAIN.name, "at"]
        assert job(engine, "at").status is Status.SUCCESS
