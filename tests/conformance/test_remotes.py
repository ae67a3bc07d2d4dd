"""Remotes: scenario 41 of the conformance list."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.git import commit_file, git
from tests.support.raw import Raw, RawError, classic
from tests.support.scenarios import Stream


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Another repository whose branch ``master`` has ``foo`` and ``x``."""
    path = tmp_path / "other"
    commit_file(path, "foo", b"foo\n")
    commit_file(path, "x/y", b"x\n")
    git(path, "branch", "master")
    return path


async def test_41_a_branch_is_fetched(raw: Raw, repository: Path) -> None:
    head = git(repository, "rev-parse", "master")
    await raw.mkdir("remotes/origin")
    assert await raw.list("remotes/origin") == ["url", "fetch", "head"]
    await raw.write("remotes/origin/url", f"file://{repository}".encode())
    await raw.write("remotes/origin/fetch", b"master")
    for _ in range(2):
        stream = await Stream.open(raw, "remotes/origin/head")
        assert await stream.line() == head
    assert await raw.list(f"snapshots/{head}/ro") == ["foo", "x"]
    assert await raw.read("branch/master/head") == f"{head}\n".encode()


async def test_41_the_url_may_name_the_branch(raw: Raw, repository: Path) -> None:
    head = git(repository, "rev-parse", "master")
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", f"file://{repository}#master".encode())
    await raw.write("remotes/origin/fetch", b"\n")
    assert await raw.read("remotes/origin/head") == f"{head}\n".encode()


async def test_41_a_fetch_that_cannot_be_says_why(raw: Raw, tmp_path: Path) -> None:
    await raw.mkdir("remotes/origin")
    with raw.refused("error: remote url is not defined", errno.EINVAL):
        await raw.write("remotes/origin/fetch", b"master")
    await raw.write("remotes/origin/url", f"file://{tmp_path}/none".encode())
    with raw.refused("error: no head to fetch", errno.EINVAL):
        await raw.write("remotes/origin/fetch", b"")
    with pytest.raises(RawError):
        await raw.write("remotes/origin/fetch", b"master")
    with raw.refused("Operation not permitted", errno.EPERM):
        await raw.remove("remotes/origin")


@classic
async def test_41_a_fetch_that_fails_names_its_url(raw: Raw, tmp_path: Path) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", f"file://{tmp_path}/none".encode())
    with pytest.raises(RawError, match=rf"^error: cannot fetch file://{tmp_path}/none"):
        await raw.write("remotes/origin/fetch", b"master")
