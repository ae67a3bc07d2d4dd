"""The local-Git bridge on real repositories, with a real database and real Git."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci.bridges import local_git
from datakit_ci.bridges.local_git import ItIsTheDatabaseError, LocalGitBridge, LocalRepository
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
        yield (
            database,
            LocalGitBridge(database, [LocalRepository(PROJECT, checkout)], patience=0.05),
        )


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


async def _commit_is_copied(database: Database, checkout: Path, content: bytes) -> None:
    commit = commit_file(checkout, "a", content)
    await _until(database, "me/app/ref/heads/main/head", f"{commit}\n")


class _Warned(logging.Handler):
    """Tells of the first warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


async def test_a_repository_that_appears_later_is_waited_for_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "some/where/checkout"
    warned = _Warned()
    monkeypatch.setattr(logging.getLogger(local_git.__name__), "handlers", [warned])
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        await warned.event.wait()
        (tmp_path / "some/where").mkdir(parents=True)
        checkout.mkdir()
        git(checkout, "init", "-q", "-b", "main")
        await _commit_is_copied(database, checkout, b"1")
        await _commit_is_copied(database, checkout, b"2")
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "is not a Git repository" in said[0]


async def test_a_repository_that_is_removed_and_made_again_is_followed_again(
    tmp_path: Path,
) -> None:
    checkout = tmp_path / "checkout"
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        await _commit_is_copied(database, checkout, b"1")
        shutil.rmtree(checkout)
        await _commit_is_copied(database, checkout, b"2")
        checkout.rename(tmp_path / "elsewhere")  # nothing in it changes
        await _commit_is_copied(database, checkout, b"3")
        await _commit_is_copied(database, checkout, b"4")


async def test_heads_stay_while_their_repository_is_away(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    first = commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (database, bridge):
        await bridge.sync(bridge.repositories[0])
        shutil.rmtree(checkout)
        with pytest.raises(ConfigError):
            await bridge.sync(bridge.repositories[0])
        assert (await _metadata(database))["me/app/ref/heads/main/head"] == f"{first}\n"


async def test_the_database_itself_is_refused_and_gets_no_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = tmp_path / "checkout"
    commit_file(checkout, "a", b"1")
    async with open_store(tmp_path / "database.git") as store:
        database = LocalDatabase(store)
        others = LocalGitBridge(database, [LocalRepository("me/app", checkout)], patience=0.05)
        itself = LocalRepository("me/self", tmp_path / "database.git")
        bridge = LocalGitBridge(database, [itself, *others.repositories], patience=0.05)
        await others.sync(others.repositories[0])
        before = await database.head(BRANCH)
        with pytest.raises(ItIsTheDatabaseError, match="is the database itself"):
            await bridge.sync(itself)
        assert await database.head(BRANCH) == before
        async with _running(bridge):
            await _commit_is_copied(database, checkout, b"2")  # the other one is followed
        assert not [path for path in await _metadata(database) if path.startswith("me/self")]


async def test_a_mirror_of_the_database_is_refused_as_well(tmp_path: Path) -> None:
    checkout, mirror = tmp_path / "checkout", tmp_path / "mirror.git"
    commit_file(checkout, "a", b"1")
    async with _bridged(tmp_path, checkout) as (_, bridge):
        await bridge.sync(bridge.repositories[0])
        git(tmp_path, "clone", "-q", "--mirror", tmp_path / "database.git", mirror)
        commit_file(checkout, "a", b"2")
        await bridge.sync(bridge.repositories[0])  # the mirror is late
        with pytest.raises(ItIsTheDatabaseError):
            await bridge.sync(LocalRepository("me/mirror", mirror))


async def test_any_number_of_repositories_are_followed(tmp_path: Path) -> None:
    checkouts = {f"me/app{number}": tmp_path / f"app{number}" for number in range(5)}
    async with open_store(tmp_path / "database.git") as store:
        database = LocalDatabase(store)
        repositories = [LocalRepository(*each) for each in checkouts.items()]
        async with _running(LocalGitBridge(database, repositories, patience=0.05)):
            for project, checkout in checkouts.items():
                commit = commit_file(checkout, "a", project.encode())
                await _until(database, f"{project}/ref/heads/main/head", f"{commit}\n")


def _ref_formats() -> list[str]:
    """How this Git can keep refs; reftables came with 2.45."""
    major, minor = git(Path.cwd(), "version").split()[2].split(".")[:2]
    return ["files", "reftable"] if (int(major), int(minor)) >= (2, 45) else ["files"]


@pytest.mark.parametrize("ref_format", _ref_formats())
async def test_refs_are_followed_however_git_keeps_them(tmp_path: Path, ref_format: str) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    chosen = [] if ref_format == "files" else [f"--ref-format={ref_format}"]
    git(checkout, "init", "-q", "-b", "main", *chosen)
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        await _commit_is_copied(database, checkout, b"1")
        await _commit_is_copied(database, checkout, b"2")


async def test_a_change_of_a_reftable_is_noticed(tmp_path: Path) -> None:
    """With any Git: a branch is kept where nobody looks, and a table of refs next to it changes."""
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "main"
    first = commit_file(checkout, "a", b"1")
    second = commit_file(checkout, "a", b"2")
    elsewhere.write_text(f"{first}\n")
    ref = checkout / ".git" / "refs" / "heads" / "main"
    ref.unlink()
    ref.symlink_to(elsewhere)
    tables = checkout / ".git" / "reftable"
    tables.mkdir()
    async with _bridged(tmp_path, checkout) as (database, bridge), _running(bridge):
        await _until(database, "me/app/ref/heads/main/head", f"{first}\n")
        elsewhere.write_text(f"{second}\n")
        (tables / "tables.list").write_text("0x000000000001-0x000000000002-5bd1e995.ref\n")
        await _until(database, "me/app/ref/heads/main/head", f"{second}\n")


@pytest.mark.parametrize("text", ["me/app", "app:path", "me/app:", "a/b/c:path", ":path"])
def test_a_repository_is_written_as_project_and_path(text: str) -> None:
    with pytest.raises(ConfigError, match="USER/REPO:PATH"):
        LocalRepository.parse(text)
