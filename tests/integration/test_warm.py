"""``datakit-ci run --warm``: results of another database are copied, and it is only read."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from datakit_ci.acl import Rights, Rules, username
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.clones import Clones
from datakit_core.client.local import open_local
from datakit_core.server import serve_store
from datakit_core.smart_http import Views
from datakit_core.store import Store
from tests.support.databases import open_store
from tests.support.fake_engine import FakeEngine
from tests.support.git import git
from tests.support.visitors import TokenAccounts

PIPELINE = """
from datakit_ci import Config, PlainTree, Project, shell, stage

make = shell("make", "cat word > out; ln -s out link; date +%N > when", inputs=["word"],
             outputs=["out", "link", "when"])
look = shell("look", "cat out when; test -L link")
fails = shell("fails", "echo no; exit 3", inputs=["word"])

@stage
def count(source: PlainTree) -> dict[str, str]:
    return {"count": str(len(source.read("word")))}

def jobs(target):
    source = target.source
    return {"look": look(make(source)), "fails": fails(source), "count": count(source)}

config = Config(projects=[Project("me/app", jobs)])
"""


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "datakit_ci", "run", str(root / "pipeline.py"), "--once", *options],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A database in which the pipeline has run."""
    root = tmp_path / "checkout"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / "pipeline.py").write_text(PIPELINE)
    (root / "word").write_text("word\n")
    assert run(root).returncode == 1
    database = tmp_path / "other.git"
    shutil.move(root / ".datakit/database.git", database)
    return database


def results(database: Path) -> str:
    return git(database, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads/results")


def check(root: Path, other: Path, source: str, *options: str) -> None:
    done = run(root, "--warm", source, *options)
    assert done.returncode == 1, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line[:1] in "✓✗"]
    assert [row[1] for row in rows if row[-1] == "cached" or "cached" in row] == [
        "look",
        "fails",
        "count",
    ]
    assert "\nno\n" in done.stdout, "the log was copied too"
    own = root / ".datakit/database.git"
    show = ("show", "results/me-app/make:")
    assert git(own, "log", "--format=%s", "results/me-app/make") == f"make: copied from {source}"
    runs = git(own, "ls-tree", "-rd", "--name-only", "results/me-app/make").split()
    (value,) = [path for path in runs if path.endswith("/value")]
    assert git(own, show[0], f"{show[1]}{value}/when") == git(
        other, show[0], f"{show[1]}{value}/when"
    )
    git(own, "fsck", "--strict")
    assert "copied" not in run(root).stderr


async def test_a_repository_that_somebody_serves_will_do(other: Path, tmp_path: Path) -> None:
    before = results(other)
    async with open_local(other):
        await asyncio.to_thread(check, tmp_path / "checkout", other, str(other))
    assert results(other) == before


async def test_a_server_will_do(other: Path, tmp_path: Path) -> None:
    before = results(other)
    async with Store.open(other) as store, serve_store(store, ["tcp://127.0.0.1:0"]) as server:
        (endpoint,) = server.endpoints
        await asyncio.to_thread(check, tmp_path / "checkout", other, str(endpoint))
    assert results(other) == before


@asynccontextmanager
async def service(other: Path) -> AsyncIterator[str]:
    """A dashboard with the database behind it; only ann may read what there is."""
    accounts = TokenAccounts()
    accounts.add("good", "ann")
    accounts.add("foreign", "bob")
    rules = Rules(projects={"me/app": Rights(read=username("ann"))})
    async with open_store(other) as store:
        clones = Clones(store.heads, Views(store.path))
        access = Access(lambda: rules, accounts)
        async with TestServer(create_app(FakeEngine(), access=access, repository=clones)) as server:
            yield str(server.make_url("/private/db.git"))


async def test_a_service_will_do_and_is_asked_for_what_is_new_only(
    other: Path, tmp_path: Path
) -> None:
    root, before = tmp_path / "checkout", results(other)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("good\n")
    async with service(other) as url:
        await asyncio.to_thread(check, root, other, url, "--token-file", str(token))
        (copy,) = (root / ".datakit/warm").iterdir()
        for directory in (root / ".datakit", copy):
            assert "good" not in "".join(
                each.read_text(errors="replace") for each in directory.glob("*") if each.is_file()
            )
        shutil.rmtree(root / ".datakit/database.git")
        again = await asyncio.to_thread(run, root, "--warm", url, "--token-file", str(token))
        assert again.stdout.count("cached") == 3, again.stderr
    assert results(copy) == before == results(other)


async def test_a_service_that_refuses_is_told_in_a_line(other: Path, tmp_path: Path) -> None:
    root, token = tmp_path / "checkout", tmp_path / "token"
    token.touch(0o600)
    token.write_text("wrong\n")
    async with service(other) as url:
        for options in ((), ("--token-file", str(token))):
            done = await asyncio.to_thread(run, root, "--warm", url, *options)
            assert done.returncode == 2, done.stdout
            assert len(done.stderr.splitlines()) == 1
            assert "--token-file" in done.stderr
            assert "wrong" not in done.stderr
    far = run(root, "--warm", "http://ci.example.org/db.git", "--token-file", str(token))
    assert far.returncode == 2
    assert "use https" in far.stderr


def test_what_is_not_there_is_run(other: Path, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "word").write_text("another\n")
    done = run(root, "--warm", str(other))
    assert done.returncode == 1
    assert "cached" not in done.stdout


def test_a_source_that_cannot_be_read_is_bad_input(other: Path, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for source in ("/nonexistent", f"unix://{tmp_path}/nobody"):
        done = run(root, "--warm", source)
        assert done.returncode == 2, done.stdout
        assert len(done.stderr.splitlines()) == 1
    refused = run(root, "--warm", str(other), "--dry-run")
    assert refused.returncode == 2
    assert "leave out --warm" in refused.stderr
