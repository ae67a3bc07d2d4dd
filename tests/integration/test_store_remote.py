"""Fetching from other repositories with real Git."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watchfiles import awatch

from datakit_core.errors import InvalidArgument, StoreError
from datakit_core.store import Store
from datakit_core.store.refs import FETCHED
from datakit_core.store.remote import Remotes
from tests.support.commits import files_of
from tests.support.databases import open_store
from tests.support.git import commit_file, git


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "store.git") as store:
        yield store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    commit_file(tmp_path / "source", "file", b"1")
    return tmp_path / "source"


async def test_a_branch_is_fetched_with_its_history_and_kept(store: Store, source: Path) -> None:
    first = git(source, "rev-parse", "HEAD")
    second = commit_file(source, "file", b"2")
    fetched = await store.fetch(f"file://{source}", "refs/heads/main")
    assert fetched == second
    assert store.commit(fetched).parents == (first,)
    assert files_of(store, fetched) == {"file": b"2"}
    git(store.path, "gc", "-q", "--prune=now")
    git(store.path, "fsck", "--full", "--connectivity-only")
    assert store.commit(fetched).id == second
    assert dict(store.heads()) == {}
    assert not (store.path / "FETCH_HEAD").exists()


async def test_fetching_again_brings_what_is_new_even_after_a_rewrite(
    store: Store, source: Path
) -> None:
    await store.fetch(str(source), "refs/heads/main")
    git(source, "commit", "-q", "--amend", "-m", "rewritten")
    assert await store.fetch(str(source), "refs/heads/main") == git(source, "rev-parse", "HEAD")


async def test_a_tag_gives_the_commit_that_it_names(store: Store, source: Path) -> None:
    git(source, "tag", "-a", "-m", "release", "v1")
    fetched = await store.fetch(str(source), "refs/tags/v1")
    assert fetched == git(source, "rev-parse", "HEAD")


async def test_a_commit_is_fetched_by_id_where_that_is_allowed(store: Store, source: Path) -> None:
    wanted = git(source, "rev-parse", "HEAD")
    commit_file(source, "file", b"2")
    git(source, "config", "uploadpack.allowAnySHA1InWant", "true")
    assert await store.fetch(str(source), wanted) == wanted


async def test_two_sources_do_not_share_refs(store: Store, source: Path, tmp_path: Path) -> None:
    commit_file(tmp_path / "other", "file", b"other")
    one = await store.fetch(str(source), "refs/heads/main")
    other = await store.fetch(str(tmp_path / "other"), "refs/heads/main")
    kept = git(store.path, "for-each-ref", "--format=%(objectname)", FETCHED).split()
    assert sorted(kept) == sorted([one, other])


async def test_what_cannot_be_fetched_is_explained(store: Store, source: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot fetch refs/heads/none from .*refs/heads/none"):
        await store.fetch(str(source), "refs/heads/none")
    with pytest.raises(StoreError, match="not appear to be a git repository"):
        await store.fetch("/nowhere", "refs/heads/main")
    with pytest.raises(StoreError) as caught:
        await store.fetch("http://user:secret@127.0.0.1:1/x", "refs/heads/main")
    assert "secret" not in str(caught.value)
    assert "user" not in str(caught.value)


@pytest.mark.parametrize(
    "ref", ["main", "HEAD", "refs/heads", "--all", "refs/heads/a b", "+refs/heads/a", "1234",
            "refs/heads/*", "refs/heads/a:refs/heads/b", "refs/heads/../x"]
)  # fmt: skip
async def test_only_a_full_ref_can_be_fetched(store: Store, source: Path, ref: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.fetch(str(source), ref)


async def test_fetches_from_one_url_wait_for_one_another(store: Store, source: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        fetches = [tasks.create_task(store.fetch(str(source), "refs/heads/main")) for _ in range(5)]
    assert len({fetch.result() for fetch in fetches}) == 1


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory; a fetch by ssh runs a program that says so in it, and then never answers."""
    told = tmp_path / "told"
    told.mkdir()
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho $$ > {told}/pid.new; mv {told}/pid.new {told}/pid\nexec cat\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return told


async def ends(pid: int) -> None:
    """Wait until a process has ended; returns at once if it is not there."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    await ended.wait()
    loop.remove_reader(descriptor)
    os.close(descriptor)


async def test_a_fetch_that_takes_too_long_is_ended_with_its_helpers(
    store: Store, endless: Path
) -> None:
    remotes = Remotes(store.path, timeout=3.0)  # long enough for the helper to start
    with pytest.raises(StoreError, match="took over 3 s"):
        await remotes.fetch("ssh://example.org/x", "refs/heads/main")
    await ends(int((endless / "pid").read_text()))


async def test_a_cancelled_fetch_is_ended_with_its_helpers(store: Store, endless: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        fetch = tasks.create_task(store.fetch("ssh://example.org/x", "refs/heads/main"))
        async for _ in awatch(endless, step=10, rust_timeout=50, yield_on_timeout=True):
            if (endless / "pid").exists():
                break
        fetch.cancel()
    await ends(int((endless / "pid").read_text()))
