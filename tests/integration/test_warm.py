"""``datakit-ci run --warm``: results of another database are copied, and it is only read."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datakit_core.client.local import open_local
from datakit_core.server import serve_store
from datakit_core.store import Store
from tests.support.git import git

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


def check(root: Path, other: Path, source: str) -> None:
    done = run(root, "--warm", source)
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
