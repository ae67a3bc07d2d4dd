"""Pages on flows over HTTP, and on their builds, which belong to no project."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Rights, Rules, everyone
from datakit_ci.archive import Dossier
from datakit_ci.control import Rebuild
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.flows import origins
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.visitor import CSRF_HEADER
from datakit_ci.state import BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_core.client.api import CommitId, ObjectId
from tests.integration.test_dashboard import Client, look
from tests.support.ci_scene import NOW, build_id
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import sign_in

ALL_MAY = Rules(service=Rights(everyone), others=Rights(everyone, everyone))
BUILD = build_id(FLOWS, "tidy")
FLOW = TargetState(
    Target(FLOWS, "flow", "clean"),
    CommitId(ObjectId("ab" * 20)),
    subject="New rates",
    updated=NOW,
    jobs=(JobState("publish", Status.SUCCESS, "passed in 2 s", (BUILD,)),),
    graph=(
        GraphNode("h", "raw", "head", Status.SUCCESS),
        GraphNode("s", "tidy", "stage", Status.SUCCESS, inputs=("h",), build=BUILD),
        GraphNode("p", "publish to clean", "publish", Status.SUCCESS, inputs=("s",)),
    ),
)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    make = engine.database.objects.make
    state = BuildState(
        BUILD, Status.SUCCESS, input=make({"raw.txt": "A"}), output=make({"clean.txt": "a"}),
        started=NOW, finished=NOW,
    )  # fmt: skip
    engine.flowing = [FLOW, replace(FLOW, target=Target(FLOWS, "flow", "public/rates"))]
    engine.record(Dossier(state, engine.database))
    return engine


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[Client]:
    app = create_app(engine, now=lambda: NOW, access=Access(lambda: ALL_MAY), controls=engine)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_flows_are_listed_with_what_they_are_made_from(client: Client) -> None:
    page = await look(client, "/flows")
    assert "passed clean branch raw passed in 2 s" in page.words
    assert {"/flows/clean", "/flows/public/rates"} <= set(page.links)
    assert {"/flows", "/flows/clean"} <= set((await look(client, "/")).links)


@pytest.mark.parametrize("path", ["/flows/clean", "/flows/public/rates"])
async def test_a_flow_shows_where_it_stands_and_its_last_runs(client: Client, path: str) -> None:
    page = await look(client, path)
    assert "Flow from the branch raw" in page.words
    assert f"Made from commit {'ab' * 20} New rates" in page.words
    assert "Last runs of tidy" in page.words
    assert "pipeline" in page.ids
    build = path_of("build", BUILD.path)
    assert {build, f"{build}/input", f"{build}/output", "/results/flows/tidy"} <= set(page.links)


async def test_a_build_of_a_flow_has_all_pages_of_builds(client: Client) -> None:
    build = path_of("build", BUILD.path)
    page = await look(client, build)
    assert "/flows" in page.links
    assert "/results/flows/tidy" in page.links
    for below in ("/input", "/output", "/output/clean.txt", "/log.txt"):
        await look(client, build + below)
    assert build in (await look(client, "/results/flows/tidy")).links
    await look(client, build + "/compare", 404)  # there is nothing to compare it with


async def test_a_stage_of_a_flow_may_have_slashes(client: Client, engine: FakeEngine) -> None:
    slashed = replace(BUILD, stage="rates/tidy")
    dossier = await engine.dossier(BUILD)
    assert dossier is not None
    engine.record(replace(dossier, state=replace(dossier.state, id=slashed)))
    graph = (FLOW.graph[0], replace(FLOW.graph[1], label="rates/tidy", build=slashed))
    engine.flowing = [replace(FLOW, graph=graph)]
    engine.add(TargetState(Target("flows/rates", "heads", "main")))  # is something else
    links = (await look(client, "/flows/clean")).links
    build, results = path_of("build", slashed.path), "/results/flows/rates~1tidy"
    assert {build, results} <= set(links)
    assert results in (await look(client, build)).links
    assert build in (await look(client, results)).links
    assert "clean.txt" in (await look(client, f"{build}/output")).words
    headers = {CSRF_HEADER: await sign_in(client, "clara")}
    async with client.post(f"{build}/rebuild", headers=headers, allow_redirects=False) as response:
        assert response.headers["Location"] == build
    assert [each.what for each in engine.commands if isinstance(each, Rebuild)] == [slashed]


@pytest.mark.parametrize("branch", ["{clean}", "a{b", "x}", "{a}/{b}", "{{7*7}}", "%7Bx%7D"])
async def test_a_flow_may_have_braces_in_its_name(
    client: Client, engine: FakeEngine, branch: str
) -> None:
    target = Target(FLOWS, "flow", branch)
    engine.flowing = [replace(FLOW, target=target)]
    assert path_of(target.path) in (await look(client, "/flows")).links
    page = await look(client, path_of(target.path))
    assert f"{branch} passed" in page.words
    headers = {CSRF_HEADER: await sign_in(client, "clara")}
    path = f"{path_of(target.path)}/rebuild"
    async with client.post(path, headers=headers, allow_redirects=False) as response:
        assert response.status == 303
    assert [each.what for each in engine.commands if isinstance(each, Rebuild)] == [target]


async def test_a_flow_without_results_or_with_a_problem_says_so(
    client: Client, engine: FakeEngine
) -> None:
    engine.recorded.clear()
    assert "It has not come to a result yet." in (await look(client, "/flows/clean")).words
    engine.flowing = [replace(FLOW, problem="NameError: <b>", jobs=(), graph=())]
    assert "NameError: <b>" in (await look(client, "/flows")).words
    assert "The flow has a problem NameError: <b>" in (await look(client, "/flows/clean")).words


async def test_without_flows_there_is_a_hint_and_no_page(
    client: Client, engine: FakeEngine
) -> None:
    engine.flowing = []
    assert "There are no flows." in (await look(client, "/flows")).words
    assert "No flow publishes" in (await look(client, "/flows/clean", 404)).words
    await look(client, "/flows/a/b", 404)
    await look(client, "/results/flows/none", 404)


async def test_a_project_of_that_user_goes_before_a_flow(
    client: Client, engine: FakeEngine
) -> None:
    engine.add(TargetState(Target("flows/clean", "heads", "main")))
    assert "Project flows/clean" in (await look(client, "/flows/clean")).words


def test_a_schedule_is_an_origin_too() -> None:
    nodes = (GraphNode("e", "every 1h", "every", Status.SUCCESS), *FLOW.graph)
    assert origins(replace(FLOW, graph=nodes)) == [("schedule", "every 1h"), ("branch", "raw")]
    assert origins(replace(FLOW, graph=())) == []


async def test_a_flow_can_be_rebuilt(client: Client, engine: FakeEngine) -> None:
    page = await look(client, "/flows/clean")
    assert "Rebuild" in page.words
    headers = {CSRF_HEADER: await sign_in(client, "ann")}
    for path in ("/flows/clean", "/flows/public/rates", path_of("build", BUILD.path)):
        async with client.post(
            f"{path}/rebuild", headers=headers, allow_redirects=False
        ) as response:
            assert response.status == 303, await response.text()
            assert response.headers["Location"] == path
    assert [each.what for each in engine.commands if isinstance(each, Rebuild)] == [
        Target(FLOWS, "flow", "clean"),
        Target(FLOWS, "flow", "public/rates"),
        BUILD,
    ]
