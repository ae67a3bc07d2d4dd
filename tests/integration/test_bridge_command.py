"""The command ``datakit-bridge-local-git``, as a user starts it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from datakit_core.client.local import LocalDatabase
from datakit_core.server import serve_store
from datakit_core.store import Store
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


async def test_a_database_that_is_started_again_gets_what_has_happened_meanwhile(
    tmp_path: Path,
) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    url = f"unix://{tmp_path / 'socket'}"
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(AsyncExitStack())
        store = await served.enter_async_context(open_store(tmp_path / "database.git"))
        await served.enter_async_context(serve_store(store, [url]))
        bridge = await asyncio.create_subprocess_exec(
            *_COMMAND, "--datakit", url, f"me/app:{tmp_path / 'app'}"
        )
        try:
            await anext(_heads(store))
            await served.aclose()
            head = commit_file(tmp_path / "app", "a", b"2")
            store = await stack.enter_async_context(open_store(tmp_path / "database.git"))
            await stack.enter_async_context(serve_store(store, [url]))
            async for commit in _heads(store):
                if commit == head:
                    break
        finally:
            bridge.terminate()
            await bridge.wait()
    assert bridge.returncode == 0


async def _heads(store: Store) -> AsyncIterator[str]:
    """Where the branch ``main`` of the repository is, whenever the metadata say something."""
    database = LocalDatabase(store)
    async for commit in database.watch_head("github-metadata"):
        if commit is not None:
            tree = (await database.commit(commit)).tree
            yield (await database.read(tree, "me/app/ref/heads/main/head")).decode().strip()
