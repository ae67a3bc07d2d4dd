"""Snapshots, trees and diffs: scenarios 26 to 28 of the conformance list."""

from __future__ import annotations

import errno

from tests.support.raw import Raw
from tests.support.scenarios import Stream, begin, commit_files, put


async def test_26_commits_are_compared(raw: Raw) -> None:
    first = await commit_files(raw, "master", {"file": b"1"})
    second = await commit_files(raw, "master", {"file": b"2", "foo": b""})
    assert await raw.read(f"snapshots/{second}/diff/{first}") == b"* file\n+ foo\n"
    assert await raw.read(f"snapshots/{first}/diff/{second}") == b"* file\n- foo\n"
    assert await raw.read(f"snapshots/{second}/diff/{second}") == b""
    assert await raw.list(f"snapshots/{second}/diff") == []


async def test_26_a_branch_is_compared_with_a_commit(raw: Raw) -> None:
    first = await commit_files(raw, "master", {"file": b"1", "old": b""})
    diff = ["branch", "master", "diff"]
    assert await raw.read([*diff, first]) == b""
    await commit_files(raw, "master", {"file": b"2", "old": None, "new": b""})
    assert await raw.read([*diff, first]) == b"* file\n+ new\n- old\n"
    assert await raw.list(diff) == []
    await raw.mkdir("branch/empty")
    assert await raw.read(["branch", "empty", "diff", first]) == b"- file\n- old\n"
    with raw.refused("No such file or directory", errno.ENOENT):
        await raw.walk([*diff, "1" * 40])
    assert "diff" not in await raw.list("branch/master")


async def test_26_a_transaction_is_compared_with_a_commit(raw: Raw) -> None:
    head = await commit_files(raw, "master", {"src/file": b"1"})
    place = await begin(raw, "master")
    diff = [*place, "diff", head]
    assert await raw.read(diff) == b""
    await put(raw, place, "src/file", b"2")
    assert await raw.read(diff) == b"* src/file\n"
    await put(raw, place, "src/file", b"1")
    assert await raw.read(diff) == b""


async def test_27_a_snapshot_is_found_by_its_commit(raw: Raw) -> None:
    head = await commit_files(raw, "master", {"snapshot/test/time": b"now"})
    tree = f"snapshots/{head}/ro/snapshot/test"
    assert await raw.list(f"snapshots/{head}") == ["ro", "hash", "msg", "parents", "diff"]
    assert await raw.read(f"snapshots/{head}/hash") == head.encode()
    assert await raw.list(tree) == ["time"]
    assert await raw.read(f"{tree}/time") == b"now"


async def test_28_a_tree_is_found_by_what_its_watch_says(raw: Raw) -> None:
    await commit_files(raw, "master", {"src/file": b"1", "doc/file": b"2"})
    stream = await Stream.open(raw, "branch/master/watch/tree.live")
    name = await stream.line()
    assert await raw.list(["trees", name]) == ["doc", "src"]
    assert await raw.list("trees") == []
