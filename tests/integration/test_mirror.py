"""Mirroring to another repository, by real Git."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.errors import ConfigError
from datakit_core.store import CommitId, Store
from datakit_core.store.mirror import Mirror, Pace, mirroring
from tests.support.daemon import git_daemon
from tests.support.databases import open_store
from tests.support.git import commit_file, git
from tests.support.waiting import until

QUICK = Pace(batch=0.01, first=0.02, longest=0.2)
WATCHFUL = Pace(batch=0.01, first=0.02, longest=0.2, compare=0.05)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An empty repository to mirror to."""
    path = tmp_path / "copies" / "copy.git"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare")
    return path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "db.git") as opened:
        yield opened


async def write(store: Store, branch: str, content: bytes = b"content") -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put("file", content)
    return await transaction.commit()


def heads(copy: Path) -> dict[str, str]:
    """The branches of a repository."""
    listed = git(copy, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads")
    return {name: head for head, _, name in (line.partition(" ") for line in listed.splitlines())}


def rename(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


async def in_step(mirror: Mirror, store: Store, copy: Path) -> None:
    """Wait until the mirror says that it is in step, and see whether that is true."""
    await mirror.in_step.wait()
    assert heads(copy) == store.heads()
    assert mirror.status.behind == 0
    assert mirror.status.lag() == 0


async def test_every_branch_is_mirrored_and_follows(store: Store, copy: Path) -> None:
    await write(store, "main")
    await write(store, "results/me/build")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        await write(store, "main", b"more")
        await write(store, "näxt")
        assert mirror.status.lag() > 0
        await in_step(mirror, store, copy)
        await store.remove_branch("main")
        await in_step(mirror, store, copy)
        await store.rename_branch("näxt", "other")
        await in_step(mirror, store, copy)
        assert mirror.status.deleted == 2
        assert mirror.status.failures == 0
    assert git(copy, "fsck", "--full", "--no-dangling") == ""


async def test_a_directory_of_branches_takes_the_place_of_one(store: Store, copy: Path) -> None:
    await write(store, "a")
    async with mirroring(store, str(copy), QUICK) as mirror:
        await in_step(mirror, store, copy)
        await store.remove_branch("a")
        await write(store, "a/b")
        await in_step(mirror, store, copy)


async def test_many_commits_are_pushed_together_and_the_last_one_wins(
    store: Store, copy: Path
) -> None:
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        for number in range(100):
            await write(store, "main", str(number).encode())
        await in_step(mirror, store, copy)
        assert mirror.status.pushes < 50
    assert git(copy, "rev-list", "--count", "main") == "100"


async def test_a_branch_that_is_set_back_is_set_back_there(store: Store, copy: Path) -> None:
    first = await write(store, "main")
    second = await write(store, "main", b"second")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        await store.update_head("main", second, first)
        await in_step(mirror, store, copy)


async def test_what_happened_between_two_runs_is_caught_up_with(store: Store, copy: Path) -> None:
    await write(store, "main")
    await write(store, "old")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
    await write(store, "main", b"more")
    await write(store, "new")
    await store.remove_branch("old")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        assert mirror.status.updated == 2
        assert mirror.status.deleted == 1
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        assert mirror.status.pushes == 0


async def test_a_mirror_that_goes_away_is_in_step_when_it_is_back(
    store: Store, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datakit_core.store")
    await write(store, "main")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        away = rename(copy, "away")
        await write(store, "main", b"while it is away")
        await write(store, "other")
        await until(lambda: mirror.status.failures >= 2)
        assert not mirror.in_step.is_set()
        assert mirror.status.lag() > 0
        rename(away, copy.name)
        await in_step(mirror, store, copy)
    assert f"cannot push to file://{copy}, trying again: " in caplog.text
    assert f"file://{copy} is up to date after " in caplog.text


async def test_what_somebody_else_has_pushed_is_left_alone(
    store: Store, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    theirs = commit_file(work, "file", b"theirs")
    git(work, "push", "-q", str(copy), "main", "main:foreign")
    await write(store, "main")
    ours = await write(store, "other")
    async with mirroring(store, f"file://{copy}", WATCHFUL) as mirror:
        await mirror.in_step.wait()
        assert heads(copy) == {"main": theirs, "foreign": theirs, "other": ours}
        assert mirror.status.refused == {"main"}
        assert mirror.status.behind == 1
        await store.remove_branch("other")
        await mirror.in_step.wait()
        assert heads(copy) == {"main": theirs, "foreign": theirs}
        git(copy, "update-ref", "-d", "refs/heads/main")
        await until(lambda: not mirror.status.refused and mirror.status.behind == 0)
        assert heads(copy) == {"foreign": theirs, "main": store.head("main")}
    assert caplog.text.count("'main' at") == 1


async def test_a_push_never_overwrites_what_came_since_the_last_look(
    store: Store, copy: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await write(store, "main")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await in_step(mirror, store, copy)
        git(tmp_path, "clone", "-q", str(copy), str(work), "--branch", "main")
        theirs = commit_file(work, "file", b"theirs")
        git(work, "push", "-q", str(copy), "main")
        await write(store, "main", b"ours")
        await mirror.in_step.wait()
        assert heads(copy) == {"main": theirs}
        assert mirror.status.refused == {"main"}
        assert mirror.status.failures == 1


async def test_a_branch_that_the_other_side_does_not_take_holds_up_no_other(
    store: Store, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = copy / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/protected ]\n')
    hook.chmod(0o755)
    await write(store, "protected")
    await write(store, "main")
    async with mirroring(store, f"file://{copy}", QUICK) as mirror:
        await mirror.in_step.wait()
        assert heads(copy) == {"main": store.head("main")}
        assert mirror.status.refused == {"protected"}
        await write(store, "main", b"more")
        await mirror.in_step.wait()
        assert heads(copy) == {"main": store.head("main")}
    assert caplog.text.count("does not take branch 'protected'") == 1


async def test_a_mirror_may_be_behind_a_git_daemon(store: Store, copy: Path) -> None:
    await write(store, "main", b"x" * 300_000)
    async with (
        git_daemon(copy.parent) as url,
        mirroring(store, f"{url}/{copy.name}", QUICK) as mirror,
    ):
        await in_step(mirror, store, copy)
        await write(store, "other")
        await store.remove_branch("main")
        await in_step(mirror, store, copy)


async def test_passwords_are_not_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await write(store, "main")
    async with mirroring(store, "http://alice:s3cret@127.0.0.1:1/x.git", QUICK) as mirror:
        await until(lambda: mirror.status.failures >= 1)
        assert mirror.place == "http://127.0.0.1:1/x.git"
    assert "cannot push to http://127.0.0.1:1/x.git" in caplog.text
    assert "s3cret" not in caplog.text
    assert "alice" not in caplog.text


@pytest.mark.parametrize("url", ["ext::sh -c evil", "relative/path", "ssh://-oX/y", "ftp://x/y"])
async def test_other_urls_are_refused_at_once(url: str, store: Store) -> None:
    with pytest.raises(ConfigError, match="--auto-push"):
        async with mirroring(store, url):
            pass
