"""Remotes: named by a connection, fetched by a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.dbfs import DatabaseFiles, Limits
from datakit_core.errors import (
    AlreadyExists,
    FileError,
    InvalidArgument,
    NoEntry,
    NotPermitted,
    TooMany,
)
from datakit_core.store import CommitId, InlineWriter, Store
from datakit_core.vfs import Deferred, Kind
from tests.support.files import Files, value_of


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[tuple[str, CommitId]]:
    """The URL of another repository, and the head of its branch ``master``."""
    path = tmp_path / "other.git"
    async with Store.open(path, create=True, writer=InlineWriter) as store:
        transaction = store.transaction("master")
        transaction.tree.put("foo", b"bar")
        yield f"file://{path}", await transaction.commit()


async def test_a_remote_lists_its_files(files: Files) -> None:
    await files.make("remotes/origin")
    assert await files.list("remotes") == ["origin"]
    assert await files.list("remotes/origin") == ["url", "fetch", "head"]


async def test_fetching_brings_a_branch(
    files: Files, store: Store, other: tuple[str, CommitId]
) -> None:
    url, head = other
    await files.make("remotes/origin")
    await files.write("remotes/origin/url", f"{url}\n".encode())
    stream = await files.open("remotes/origin/head")
    waiting = stream.read(0, 100)
    assert isinstance(waiting, Deferred)
    await files.command("remotes/origin/fetch", "master")
    assert waiting.result() == f"{head}\n".encode()
    assert await files.read("remotes/origin/head") == f"{head}\n".encode()
    assert await files.read(f"snapshots/{head}/ro/foo") == b"bar"
    assert store.head("master") == head


async def test_the_branch_may_be_part_of_the_url(
    files: Files, store: Store, other: tuple[str, CommitId]
) -> None:
    url, head = other
    await files.make("remotes/origin")
    await files.write("remotes/origin/url", f"{url}#master".encode())
    await files.command("remotes/origin/fetch", "")
    assert store.head("master") == head


async def test_a_ref_is_fetched_without_a_branch(
    files: Files, store: Store, other: tuple[str, CommitId]
) -> None:
    url, head = other
    await files.make("remotes/origin")
    await files.write("remotes/origin/url", url.encode())
    await files.command("remotes/origin/fetch", "refs/heads/master")
    assert await files.read("remotes/origin/head") == f"{head}\n".encode()
    assert store.heads() == {}


async def test_a_fetch_says_what_is_missing(files: Files, tmp_path: Path) -> None:
    await files.make("remotes/origin")
    with pytest.raises(InvalidArgument, match=r"^error: remote url is not defined$"):
        await files.command("remotes/origin/fetch", "master")
    await files.write("remotes/origin/url", f"file://{tmp_path}/none".encode())
    with pytest.raises(InvalidArgument, match=r"^error: no head to fetch$"):
        await files.command("remotes/origin/fetch", "")
    with pytest.raises(FileError, match=rf"^error: cannot fetch file://{tmp_path}/none: "):
        await files.command("remotes/origin/fetch", "master")
    await files.write("remotes/origin/url", b"ext::sh -c evil")
    with pytest.raises(InvalidArgument):
        await files.command("remotes/origin/fetch", "master")


async def test_a_remote_cannot_be_made_twice_or_removed(files: Files) -> None:
    await files.make("remotes/origin")
    with pytest.raises(AlreadyExists):
        await files.make("remotes/origin")
    with pytest.raises(NotPermitted):
        await value_of((await files.node("remotes/origin")).remove())
    with pytest.raises(NotPermitted, match="Can only contain directories"):
        await files.make("remotes/file", Kind.FILE)
    with pytest.raises(NoEntry):
        await files.node("remotes/other")


async def test_a_connection_can_have_only_so_many(store: Store) -> None:
    files = Files(DatabaseFiles(store, Limits(remotes=1)).connect())
    await files.make("remotes/one")
    with pytest.raises(TooMany, match="use one of them again"):
        await files.make("remotes/two")
