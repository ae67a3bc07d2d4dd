"""The command ``datakit-bridge-github``, as a user starts it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from datakit_ci.metadata import BRANCH
from tests.support.branches import commit_files
from tests.support.databases import BACK_ENDS
from tests.support.fake_checks import FakeApp
from tests.support.fake_github import FakeGitHub, FakePull, serve_github
from tests.support.git import git
from tests.support.github_world import PROJECT, commit_id

_COMMAND = "from datakit_ci.bridges.github.command import main; main()"
A = commit_id(1)


async def run(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COMMAND, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, out.decode()


def token(tmp_path: Path, mode: int = 0o600) -> str:
    path = tmp_path / "token"
    path.write_text("a-token\n")
    path.chmod(mode)
    return str(path)


async def test_a_repository_is_brought_in_step_once(tmp_path: Path) -> None:
    async with serve_github(FakeGitHub()) as hub:
        hub.repository(PROJECT).open_pull(FakePull(7, A, "Fix it"))
        database = tmp_path / "db.git"
        status, out = await run(
            "--once", "--no-fetch", "--datakit", f"git:{database}", "--repositories", PROJECT,
            "--token", token(tmp_path), "--api", hub.url,
        )  # fmt: skip
    assert status == 0, out
    assert git(database, "show", f"github-metadata:{PROJECT}/pr/7/title") == "Fix it"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--repositories", "app"], "not of the form USER/REPO"),
        (["--capabilities", "pr:q"], "no capability"),
        (["--app-id", "3"], "an App needs"),
        (["--app-id", "x", "--app-key", "k", "--installation", "1"], "the App's id is a number"),
        (["--webhook", "ci.example.org"], "not of the form https://HOST/PATH"),
        (["--token", "/nonexistent/token"], "does not exist"),
    ],
)
async def test_bad_options_are_one_line(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    given = [] if "--token" in arguments else ["--token", token(tmp_path)]
    status, out = await run("--datakit", f"git:{tmp_path / 'db.git'}", *given, *arguments)
    assert status == 2
    assert complaint in out
    assert "Traceback" not in out
    assert len(out.splitlines()) == 1


async def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    status, out = await run(
        "--datakit", f"git:{tmp_path / 'db.git'}", "--token", token(tmp_path, 0o644)
    )
    assert status == 2
    assert "chmod 600" in out
    assert "a-token" not in out


async def as_app(hub: FakeGitHub, tmp_path: Path, key: Path) -> tuple[int | None, str]:
    return await run(
        "--once", "--no-fetch", "--datakit", f"git:{tmp_path / 'db.git'}",
        "--repositories", PROJECT, "--app-id", str(hub.app.id),
        "--installation", hub.app.installation, "--app-key", str(key), "--api", hub.url,
    )  # fmt: skip


async def test_an_app_has_tokens_made_and_makes_check_runs(tmp_path: Path) -> None:
    async with serve_github(FakeGitHub()) as hub:
        hub.repository(PROJECT).set_ref("heads/main", A)
        async with BACK_ENDS["local"](tmp_path / "db.git") as database:
            status = f"{PROJECT}/commit/{A}/status/ci/datakit/unit"
            await commit_files(database, BRANCH, {f"{status}/state": b"success\n"})
        done = await as_app(hub, tmp_path, hub.app.write_key(tmp_path / "key"))
        assert done[0] == 0, done
        [run] = hub.repository(PROJECT).runs.values()
        assert (run.name, run.conclusion) == ("ci/datakit/unit", "success")
        assert len(hub.app.tokens) == 1


@pytest.mark.parametrize("kind", ["another", "none"])
async def test_an_apps_key_that_is_wrong_is_said_in_a_line(tmp_path: Path, kind: str) -> None:
    key = tmp_path / "key"
    key.write_text("not a key")
    key.chmod(0o600)
    if kind == "another":
        FakeApp().write_key(key)
    async with serve_github(FakeGitHub()) as hub:
        hub.repository(PROJECT)
        status, out = await as_app(hub, tmp_path, key)
    assert status == 2, out
    assert "App 4711" in out
    assert "Traceback" not in out


async def test_a_token_that_github_does_not_accept_is_said(tmp_path: Path) -> None:
    async with serve_github(FakeGitHub(token="another")) as hub:
        hub.repository(PROJECT)
        status, out = await run(
            "--once", "--datakit", f"git:{tmp_path / 'db.git'}", "--repositories", PROJECT,
            "--token", token(tmp_path), "--api", hub.url,
        )  # fmt: skip
    assert status == 2
    assert "does not accept the token" in out
    assert "a-token" not in out
