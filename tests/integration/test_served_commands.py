"""``datakit-ci`` with ``--server``: what it prints, how it ends, and where a token goes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from datakit_ci.acl import Role
from datakit_ci.control import Approve, Cancel, Confirm, Pause, Rebuild
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.explanation import Explanation, JobWhy, Reason, ReasonKind, Verdict
from datakit_ci.rulings import Ruling
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.errors import InvalidArgument
from tests.support.ci_scene import NOW, PYTEST_LOG, Scene, fill
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, everything
from tests.support.waiting import until

RED = "acme/shop/heads/rounding"

Run = Callable[..., Coroutine[None, None, tuple[int, str, str]]]


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("good\n")
    return file


@pytest.fixture
async def url(scene: Scene) -> AsyncIterator[str]:
    accounts = TokenAccounts()
    accounts.add("good", "ann")
    accounts.add("reading", "ann", Role.READ)
    access = Access(lambda: everything("ann"), accounts)
    app = create_app(scene.engine, now=lambda: NOW, access=access, controls=scene.engine)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
def run(tmp_path: Path, url: str, token: Path) -> Run:
    """Runs the command; the service and the token's file are in the environment."""

    async def run_it(*arguments: str, **variables: str) -> tuple[int, str, str]:
        known = {"DATAKIT_SERVER": url, "DATAKIT_TOKEN_FILE": str(token)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "datakit_ci", *arguments,
            stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=os.environ | known | variables,
        )  # fmt: skip
        out, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()

    return run_it


async def test_status_lists_targets_and_of_one_its_jobs(run: Run, scene: Scene) -> None:
    scene.engine.paused_projects["acme/shop"] = Ruling("ann", NOW)
    code, out, _ = await run("status")
    assert code == 0
    assert "acme/shop is paused by ann since 2026-03-04 12:00 UTC" in out
    assert f"{RED}  {str(scene.red.head)[:7]}  failure  5 success, 1 failure, 1 blocked" in out
    code, out, _ = await run("status", RED)
    assert "  unit   failure    2 failed, 211 passed: exit status 1\n" in out
    code, out, _ = await run("status", RED, "--json")
    record = json.loads(out)
    assert record["paused_by"] == "ann"
    assert record["jobs"][2]["builds"] == [scene.failed.path]


async def test_why_says_what_the_service_knows(run: Run, scene: Scene) -> None:
    reason = Reason(ReasonKind.OBSERVATION, "src/a.py has changed")
    said = Explanation("unit", Verdict.RAN, (reason,), scene.failed)
    target = scene.red.target
    scene.engine.job_whys[target, "unit"] = JobWhy(
        target.path, "unit", Status.FAILURE, "exit status 1", (said,)
    )
    code, out, _ = await run("why", RED, "unit")
    assert code == 0
    assert out.splitlines()[1:] == ["  unit ran", "    src/a.py has changed"]


async def test_commands_are_done_in_the_name_of_the_token(run: Run, scene: Scene) -> None:
    assert await run("rebuild", RED, "--failed") == (0, "rebuild done\n", "")
    await run("cancel", f"build/{scene.failed.path}")
    await run("confirm", RED, "unit")
    await run("approve", "acme/shop/pr/318", str(scene.busy.head))
    _, out, _ = await run("pause", "acme/shop", "--json")
    assert json.loads(out) == {"done": True, "text": "pause done"}
    assert scene.engine.commands == [
        Rebuild("ann", scene.red.target, only_failed=True),
        Cancel("ann", scene.failed),
        Confirm("ann", scene.red.target, "unit"),
        Approve("ann", Target("acme/shop", "pr", "318"), scene.busy.head),
        Pause("ann", "acme/shop"),
    ]
    scene.engine.refusal = InvalidArgument("nothing is under way")
    assert await run("cancel", RED) == (1, "", "datakit-ci: nothing is under way\n")


async def test_the_log_of_what_failed_is_printed_and_a_live_one_followed(
    run: Run, scene: Scene
) -> None:
    code, out, errors = await run("logs", RED, "unit")
    assert (code, out, errors) == (0, PYTEST_LOG.decode(), "")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(run("logs", f"build/{scene.live.path}", "--follow"))
        await until(lambda: scene.engine.readers > 0)
        await scene.engine.write_log(scene.live, b"one more\n")
        build = await scene.engine.build(scene.live)
        assert build is not None
        await scene.engine.set_build(replace(build, status=Status.FAILURE, finished=NOW))
    code, out, errors = following.result()
    assert (code, errors) == (1, "")
    assert out.endswith("one more\n")
    code, _, errors = await run("logs", RED)
    assert code == 2
    assert "lint, types, unit" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("status", "acme/shop/heads/none"), 1, "There is no target"),
        (("logs", RED, "none"), 1, "has no job none"),
        (("logs", RED, "image"), 1, "has no build yet: blocked by unit"),
        (("status", "--server", "http://127.0.0.1:1"), 2, "is it served there?"),
        (("status", "--server", "ftp://x"), 2, "is not of the form"),
        (("status", "--server", "https://user@x"), 2, "is not of the form"),
        (("status", "--server", "http://ci.example.org"), 2, "use https"),
        (("status", "--server", "http://x", "--connect", "tcp://x:1"), 2, "choose one"),
        (("status", "--token-file", "/nonexistent"), 2, "No such file"),
        (("rebuild", RED, "--user", "eve"), 2, "the token that says who you are"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    found, out, errors = await run(*arguments)
    assert (found, out) == (code, "")
    assert says in errors
    assert errors.count("\n") == 1


def write(token: Path, text: str, mode: int = 0o600) -> None:
    token.write_text(text)
    token.chmod(mode)


async def test_a_token_has_to_be_good_and_good_for_it(run: Run, token: Path, scene: Scene) -> None:
    write(token, "bad\n")
    code, _, errors = await run("rebuild", RED)
    assert code == 2
    assert "token is not good" in errors
    write(token, "reading\n")
    code, _, errors = await run("rebuild", RED)
    assert code == 2
    assert "You may look" in errors
    write(token, "good\n", 0o644)
    code, _, errors = await run("status")
    assert code == 2
    assert "chmod 600" in errors
    assert scene.engine.commands == []


async def test_a_redirect_is_told_and_the_token_stays(run: Run) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization", ""))
        raise web.HTTPFound(f"http://{request.host}/other")

    app = web.Application()
    app.router.add_get("/{path:.*}", elsewhere)
    async with TestServer(app) as server:
        code, _, errors = await run("status", "--server", str(server.make_url("/")))
    assert code == 2
    assert "/other; name that" in errors
    assert asked == ["Bearer good"]


async def test_an_answer_that_is_no_answer_is_told(run: Run) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    async with TestServer(app) as server:
        code, _, errors = await run("status", "--server", str(server.make_url("/")))
    assert code == 2
    assert "is that the address of a dashboard?" in errors
