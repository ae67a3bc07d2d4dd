"""Branches: scenarios 7 to 10 of the conformance list."""

from __future__ import annotations

import errno

import pytest

from tests.support.git import git
from tests.support.raw import Raw, RawError
from tests.support.scenarios import commit_files, head_of
from tests.support.served import Served

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


async def test_7_a_branch_that_was_made_is_listed(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    await raw.mkdir(["branch", "test/log"])
    assert await raw.list("branch") == ["master", "test/log"]


async def test_7_a_branch_made_by_git_is_the_same_one(raw: Raw, served: Served) -> None:
    tree = git(served.store.path, "hash-object", "-t", "tree", "-w", "--stdin")
    head = git(served.store.path, "commit-tree", "-m", "By Git", tree)
    git(served.store.path, "update-ref", "refs/heads/theirs", head)
    assert tree == EMPTY_TREE
    await raw.mkdir("branch/theirs")
    assert await head_of(raw, "theirs") == head


async def test_8_renaming_moves_the_ref(raw: Raw, served: Served) -> None:
    head = await commit_files(raw, "old", {"file": b"content"})
    qid = (await raw.stat("branch/old")).qid
    await raw.wstat("branch/old", name="new")
    assert await raw.list("branch") == ["new"]
    stat = await raw.stat("branch/new")
    assert (stat.name, stat.qid) == ("new", qid)
    refs = git(served.store.path, "for-each-ref", "--format=%(objectname) %(refname)")
    assert refs == f"{head} refs/heads/new"


async def test_8_removing_deletes_the_ref(raw: Raw, served: Served) -> None:
    await commit_files(raw, "master", {"file": b"content"})
    await raw.remove("branch/master")
    assert await raw.list("branch") == []
    assert git(served.store.path, "for-each-ref") == ""


async def test_8_renaming_over_a_branch_is_refused(raw: Raw) -> None:
    await commit_files(raw, "old", {"file": b"content"})
    await raw.mkdir("branch/new")
    with pytest.raises(RawError, match=r"^Is a directory$"):
        await raw.wstat("branch/old", name="new")


async def test_9_making_a_branch_twice_is_no_error(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    await raw.mkdir("branch/master")
    assert await raw.read("branch/master/head") == b"\n"
    assert (await raw.stat("branch/master/head")).length == 1


async def test_10_an_empty_branch_is_fast_forwarded(raw: Raw) -> None:
    head = await commit_files(raw, "master", {"file": b"content"})
    await raw.mkdir("branch/copy")
    await raw.write("branch/copy/fast-forward", f"{head}\n".encode())
    assert await head_of(raw, "copy") == head
    assert (await raw.stat("branch/copy/head")).length == 41


async def test_10_fast_forward_refuses_what_it_must(raw: Raw) -> None:
    first = await commit_files(raw, "master", {"file": b"1"})
    await commit_files(raw, "master", {"file": b"2"})
    for command, text, number in (
        ("1" * 40, "No such file or directory", errno.ENOENT),
        ("master", 'invalid-hash "master": expected 40 hexadecimal digits', errno.EINVAL),
        (first, "not-fast-forward", errno.EBUSY),
    ):
        with raw.refused(text, number):
            await raw.command("branch/master/fast-forward", command)
