"""The command ``datakit-bridge-local-git``, as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.databases import open_store
from tests.support.git import commit_file, git

_COMMAND = [sys.executable, "-c", "from datakit_ci.bridges.command import main; main()"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_refs_are_copied_once(tmp_path: Path) -> None:
    head = commit_file(tmp_path / "app", "a", b"1")
    database = tmp_path / "database.git"
    done = _run("--once", "--datakit", f"git:{database}", f"me/app:{tmp_path / 'app'}")
    assert done.returncode == 0, done.stderr
    assert git(database, "show", "github-metadata:me/app/ref/heads/main/head") == head
    assert git(database, "cat-file", "-t", head) == "commit"


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    done = _run("--once", "--datakit", f"git:{tmp_path / 'database.git'}", f"me/app:{tmp_path}")
    assert done.returncode == 2
    assert "is not a Git repository" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    where = f"unix://{tmp_path / 'socket'}"
    done = _run("--once", "--datakit", where, f"me/app:{tmp_path / 'app'}")
    assert done.returncode == 2
    assert str(tmp_path / "socket") in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_database_that_a_server_has_is_named(tmp_path: Path) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    database = tmp_path / "database.git"
    async with open_store(database):
        done = _run("--once", "--datakit", f"git:{database}", f"me/app:{tmp_path / 'app'}")
    assert done.returncode == 2
    assert "is served by another DataKit" in done.stderr
