"""The local-Git bridge on real repositories, with a real database and real Git."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci.bridges.local_git import LocalGitBridge, LocalRepository
from datakit_ci.metadata import BRANCH
from datakit_core.client.api import CommitId, Database
from datakit_core.client.local import LocalDatabase
from datakit_core.errors import ConfigError
from tests.support.databases import open_store
from tests.support.git import commit_file, git

PROJECT = "me/app"


@asynccontextmanager
async def _bridged(
    tmp_path: Path, checkout: Path
) -> AsyncIterator[tuple[Database, LocalGitBridge]]:
    async with open_store(tmp_path / "database.git") as store:
        database = LocalDatabase(store)
        yield database, LocalGitBridge(database, [LocalRepository(PROJECT, checkout)])


@asynccontextmanager
async def _running(bridge: LocalGitBridge) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bridge.run())
        yield
        task.cancel()


async def _files(database: Database, commit: CommitId) -> dict[str, str]:
    """All files of a commit, by path."""
    found: dict[str, str] = {}
    pending = [("", (await database.commit(commit)).tree)]
    while pending:
        prefix, tree = pending.pop()
        for name, entry in (await database.tree(tree)).items():
            if entry.is_directory:
                pending.append((f"{prefix}{name}/", entry.id))  # type: ignore[arg-type]  # a directory's id is a tree's
            else:
                found[prefix + name] = (await database.read(tree, name)).decode()
    return found


async def _metadata(database: Database) -> dict[str, str]:
    head = await database.head(BRANCH)
    assert head is not None
    return await _files(database, head)


async def _until(database: Database, path: str, value: str | None) -> None:
    """Wait until the metadata's file ``path`` is ``value``."""
    async for head in database.watch_head(BRANCH):
        if head is not None and (await _files(database, head)).get(path) == value:
            return


async def test_branches_and_git_tags_become_heads(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    first = commit_file(checkout, "a", b"1")
    git(checkout, "tag", "-a", "v1", "-m", "annotated")
    second = commit_file(checkout, "a", b"2")
    git(checkout, "branch", "feature/x", first)

    async with _bridged(tmp_path, checkout) as (database, bridge):
        [repository] = bridge.repositories
        assert await bridge.sync(repository)
        assert await _metadata(database) == {
            "me/app/.monitor": "",
            "me/app/ref/heads/main/head": f"{second}\n",
            "me/app/ref/heads/feature/x/head": f"{first}\n",
            "me/app/ref/tags/v1/head": f"{first}\n",
        }
        source = await database.commit(CommitId(second))  # type: ignore[arg-type]  # Git printed it
        assert await database.read(source.tree, "a") == b"2"


async def test_nothing_changed_makes_no_commit(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (database, bridge):
        [repository] = bridge.repositories
        assert await bridge.sync(repository)
        before = await database.head(BRANCH)
        assert not await bridge.sync(repository)
        assert await database.head(BRANCH) == before


async def test_changes_are_noticed_while_it_runs(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    first = commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        main = "me/app/ref/heads/main/head"
        await _until(database, main, f"{first}\n")
        second = commit_file(checkout, "a", b"2")
        await _until(database, main, f"{second}\n")
        git(checkout, "branch", "topic")
        await _until(database, "me/app/ref/heads/topic/head", f"{second}\n")
        git(checkout, "pack-refs", "--all")
        git(checkout, "branch", "-D", "topic")
        await _until(database, "me/app/ref/heads/topic/head", None)
        git(checkout, "reset", "-q", "--hard", first)
        await _until(database, main, f"{first}\n")
        git(checkout, "tag", "v2")
        await _until(database, "me/app/ref/tags/v2/head", f"{first}\n")


async def test_a_worktree_shares_its_repository_refs(tmp_path: Path) -> None:
    checkout, worktree = tmp_path / "checkout", tmp_path / "worktree"
    first = commit_file(checkout, "a", b"1")
    git(checkout, "worktree", "add", "-q", worktree, "-b", "side")
    async with _bridged(tmp_path, worktree) as (database, bridge), _running(bridge):
        await _until(database, "me/app/ref/heads/side/head", f"{first}\n")
        second = commit_file(worktree, "a", b"2")
        await _until(database, "me/app/ref/heads/side/head", f"{second}\n")


async def test_the_other_files_of_the_metadata_stay(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    first = commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (database, bridge):
        async with database.transaction(BRANCH) as transaction:
            await transaction.write("me/app/pr/1/state", b"open\n")
            await transaction.write("you/other/ref/heads/main/head", b"0" * 40)
            await transaction.commit("as another bridge left it")
        await bridge.sync(bridge.repositories[0])
        files = await _metadata(database)
        assert files["me/app/pr/1/state"] == "open\n"
        assert files["you/other/ref/heads/main/head"] == "0" * 40
        assert files["me/app/ref/heads/main/head"] == f"{first}\n"


async def test_a_broken_repository_is_tried_again_at_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = tmp_path / "checkout"
    first = commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        await _until(database, "me/app/ref/heads/main/head", f"{first}\n")
        (checkout / ".git/refs/heads/broken").write_text("1" * 40 + "\n")
        git(checkout, "update-ref", "refs/heads/good", first)
        (checkout / ".git/refs/heads/broken").unlink()
        await _until(database, "me/app/ref/heads/good/head", f"{first}\n")


async def test_what_is_no_repository_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    async with _bridged(tmp_path, tmp_path / "plain") as (_, bridge):
        with pytest.raises(ConfigError, match="plain is not a Git repository"):
            await bridge.run()
    shutil.rmtree(tmp_path / "plain")
    async with _bridged(tmp_path / "again", tmp_path / "plain") as (_, bridge):
        with pytest.raises(ConfigError, match="plain is not a Git repository"):
            await bridge.run()


@pytest.mark.parametrize("text", ["me/app", "app:path", "me/app:", "a/b/c:path", ":path"])
def test_a_repository_is_written_as_project_and_path(text: str) -> None:
    with pytest.raises(ConfigError, match="USER/REPO:PATH"):
        LocalRepository.parse(text)
