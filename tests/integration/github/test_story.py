"""The whole way of a stranger's pull request, through real processes that know only the database.

1. A database, the bridge and the service start; the branch that is there is tested, with a secret.
2. A pull request from a fork appears, with a pipeline of its own. It waits for approval, and GitHub
   says so.
3. Somebody looks at it, and approves it with the button of its page. It runs: the base branch's
   pipeline, without the secret. GitHub is told.
4. It is closed: nothing of it is left in the metadata.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from datakit_ci.dashboard.visitor import Visitor
from datakit_ci.metadata import BRANCH
from datakit_core.client import connect
from tests.support.command import datakit, port_in
from tests.support.fake_github import FakeGitHub, FakePull, FakeRepository, serve_github
from tests.support.git import commit_file, git
from tests.support.service import RunningService, started_service

PROJECT = "ann/app"
NAME = "ci/datakit/build"
SECRET = "correct horse battery"

SERVICE = """
from datakit_ci import Config, Project, Secret, everyone

config = Config(
    projects=[Project("ann/app", pipeline="ci/pipeline.py", secrets=["TOKEN"])],
    secrets={{"TOKEN": Secret.file({token!r})}},
    can_read=everyone,
)
"""

PIPELINE = """
from datakit_ci import shell

build = shell(
    "build",
    "cat text; if [ -n \\"$TOKEN\\" ]; then echo with the secret; else echo without it; fi",
    secrets=["TOKEN"],
)

def jobs(target):
    return {"build": build(target.source)}
"""

EVIL = PIPELINE.replace('"build":', '"stolen":')

BRIDGE = "from datakit_ci.bridges.github.command import main; main()"


def _private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@asynccontextmanager
async def _bridge(*arguments: str | Path) -> AsyncIterator[None]:
    """The bridge as a process; it has to end well when it is told to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BRIDGE, *arguments, stderr=PIPE, env=os.environ
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert SECRET.encode() not in said
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def _says(repository: FakeRepository, commit: str, text: str) -> Callable[[], bool]:
    """Whether the status of a commit on GitHub says this."""

    def says() -> bool:
        said = repository.statuses.get(commit, {}).get(NAME, {})
        return text in f"{said.get('state')}: {said.get('description')}"

    return says


async def _approve(service: RunningService, number: int, commit: str) -> str:
    """Press the button; what the page then says."""
    cookies = await service.log_in()
    page = f"{service.dashboard}{PROJECT}/pr/{number}"
    jar = aiohttp.CookieJar(unsafe=True)  # keeps those of addresses, too
    jar.update_cookies(cookies, URL(page))
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.get(page) as reply:
            shown = await reply.text()
        assert f'value="{commit}"' in shown  # the form says what is approved
        [cookie] = [value for name, value in cookies.items() if re.fullmatch(r"datakit-\d+", name)]
        form = {"csrf": Visitor(cookie=cookie).csrf, "commit": commit}
        async with session.post(f"{page}/approve", data=form) as reply:
            assert reply.status == 200
            return html.unescape(await reply.text())


def _pull_request(directory: Path, hub: Path) -> str:
    """A stranger's commit on ``main``, which changes the pipeline as well."""
    clone = directory / "fork"
    git(directory, "clone", "-q", hub, clone)
    commit_file(clone, "ci/pipeline.py", EVIL.encode())
    commit = commit_file(clone, "text", b"from a stranger\n")
    git(clone, "push", "-q", "origin", "HEAD:refs/pull/7/head")
    return commit


@pytest.mark.timeout(120)
async def test_a_pull_request_of_a_stranger(tmp_path: Path) -> None:
    commit_file(tmp_path / "app", "text", b"from ann\n")
    first = commit_file(tmp_path / "app", "ci/pipeline.py", PIPELINE.encode())
    hub_directory = tmp_path / "hub"
    bare = hub_directory / f"{PROJECT}.git"
    git(tmp_path, "clone", "-q", "--bare", "app", bare)
    database, socket = tmp_path / "database.git", tmp_path / "database.socket"
    secret = _private(tmp_path / "secret", SECRET)
    pipeline = tmp_path / "service.py"
    pipeline.write_text(SERVICE.format(token=str(secret)))
    token = _private(tmp_path / "token", "a-token")
    command = [
        sys.executable, "-m", "datakit_ci", "serve", str(pipeline),
        "--metadata-store", f"unix://{socket}", "--web-ui", "http://127.0.0.1:0",
    ]  # fmt: skip

    async with (
        serve_github(FakeGitHub()) as hub,
        datakit("--git", database, "--listen-9p", f"tcp://127.0.0.1:0,unix://{socket}") as (
            _,
            line,
        ),
    ):
        repository = hub.repository(PROJECT)
        repository.set_ref("heads/main", first)
        address = f"tcp://127.0.0.1:{port_in(line)}"
        async with (
            _bridge(
                "--datakit", f"unix://{socket}", "--repositories", PROJECT, "--token", token,
                "--api", hub.url, "--clone", f"file://{hub_directory}", "--resync-interval", "1",
            ),
            started_service(command, database, PROJECT, tmp_path, address) as service,
        ):  # fmt: skip
            # 1. The branch is tested.
            await hub.until(_says(repository, first, "success: passed"))
            link = repository.statuses[first][NAME]["target_url"]
            assert link == f"{service.dashboard}{PROJECT}/ref/heads/main"
            assert _output(database) == ["from ann", "with the secret"]

            # 2. The stranger's request waits.
            stranger = _pull_request(tmp_path, bare)
            repository.open_pull(FakePull(7, stranger, "Mine", owner="mallory", fork=True))
            await hub.until(_says(repository, stranger, "pending: waits for approval"))
            assert list(repository.statuses[stranger]) == [NAME]  # and nothing of its own pipeline

            # 3. It is approved, and runs.
            said = await _approve(service, 7, stranger)
            assert f"Approve {PROJECT}/pr/7 at {stranger[:12]}." in said
            await hub.until(_says(repository, stranger, "success: passed"))
            assert list(repository.statuses[stranger]) == [NAME]
            assert _output(database) == ["from a stranger", "without it"]
            message = git(database, "log", "-1", "--format=%B", "control")
            assert message.endswith("By: ann")
            rulings = git(database, "ls-tree", "-r", "--name-only", "control")
            assert f"approved/ann-app/7/{stranger}" in rulings

            # 4. It is closed, and gone.
            repository.change_pull(7, state="closed")
            before = repository.status_posts
            await _until_gone(address, f"{PROJECT}/pr/7")
            files = git(database, "ls-tree", "-r", "--name-only", "github-metadata")
            assert stranger not in files
        assert repository.status_posts == before
    git(database, "fsck", "--full", "--strict")


async def _until_gone(address: str, path: str) -> None:
    """Wait until the metadata have nothing at ``path``."""
    async with connect(address) as database:
        async for head in database.watch_head(BRANCH):
            if head is not None:
                tree = (await database.commit(head)).tree
                if await database.entry(tree, path) is None:
                    return


def _output(database: Path) -> list[str]:
    """What the newest run has printed."""
    branch = "results/ann-app/build"
    names = git(database, "diff-tree", "-r", "--root", "--name-only", branch).splitlines()
    [log] = [name for name in names if name.endswith("/log")]
    _command, *lines = git(database, "show", f"{branch}:{log}").splitlines()
    return lines
