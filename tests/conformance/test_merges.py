"""Merges and conflicts: scenarios 21 to 25 of the conformance list."""

from __future__ import annotations

import errno

import pytest

from datakit_core.ninep.messages import Mode
from datakit_core.store import CommitId, ObjectId
from tests.support.raw import Raw, linking
from tests.support.scenarios import Contents, begin, commit, commit_files, head_of, put
from tests.support.served import Served

pytestmark = pytest.mark.usefixtures("nonblocking")


def conflict(reason: str) -> bytes:
    return f"** Conflict **\n{reason}\n".encode()


async def fork(raw: Raw, base: Contents, ours: Contents, theirs: Contents) -> str:
    """Branches ``master`` (ours) and ``theirs`` with a common ancestor; the head of theirs."""
    if base:
        head = await commit_files(raw, "master", base)
        await raw.mkdir("branch/theirs")
        await raw.write("branch/theirs/fast-forward", head.encode())
    await commit_files(raw, "master", ours)
    return await commit_files(raw, "theirs", theirs)


async def merge(raw: Raw, theirs: str) -> list[str]:
    """A transaction on ``master`` into which ``theirs`` was merged."""
    place = await begin(raw, "master")
    assert await raw.command([*place, "merge"], theirs) == b"ok"
    return place


async def test_21_a_clean_merge_shows_the_three_trees(raw: Raw, served: Served) -> None:
    theirs = await fork(raw, {"file": b"base"}, {"ours": b"ours"}, {"theirs": b"theirs"})
    ours = await head_of(raw, "master")
    place = await merge(raw, theirs)
    assert await raw.list(place) == [
        *("base", "conflicts", "ctl", "diff", "merge", "msg", "origin"),
        *("ours", "parents", "rw", "theirs"),
    ]
    assert await raw.list([*place, "ours"]) == ["file", "ours"]
    assert await raw.list([*place, "theirs"]) == ["file", "theirs"]
    assert await raw.list([*place, "base"]) == ["file"]
    assert await raw.list([*place, "rw"]) == ["file", "ours", "theirs"]
    assert await raw.read([*place, "theirs", "theirs"]) == b"theirs"
    await commit(raw, place)
    head = CommitId(ObjectId(await head_of(raw, "master")))
    assert set(served.store.commit(head).parents) == {ours, theirs}


@linking
async def test_22_kinds_of_files_are_merged_with_their_content(raw: Raw) -> None:
    place = await begin(raw, "master")
    tree = [*place, "rw"]
    await raw.create([*tree, "a"], 0o755, b"a")
    await raw.create([*tree, "b"], Mode.LINK | 0o777, extension="target")
    await raw.create([*tree, "c"], 0o755, b"c")
    await commit(raw, place)
    await raw.mkdir("branch/theirs")
    await raw.write("branch/theirs/fast-forward", (await head_of(raw, "master")).encode())
    place = await begin(raw, "theirs")
    await raw.create([*place, "rw", "b"], 0o755, b"b")
    await raw.remove([*place, "rw", "c"])  # which 9P2000.L does not replace by a link
    await raw.create([*place, "rw", "c"], Mode.LINK | 0o777, extension="c")
    await commit(raw, place)
    place = await begin(raw, "master")
    await raw.wstat([*place, "rw", "c"], mode=0o644)
    await commit(raw, place)
    place = await merge(raw, await head_of(raw, "theirs"))
    modes = {stat.name: stat.mode for stat in await raw.stats([*place, "rw"])}
    assert modes == {
        "a": Mode(0o775).value,
        "b": Mode(0o775).value,
        "c": Mode(0o664).value,
    }
    assert await raw.read([*place, "conflicts"]) == b"c\n"
    await raw.write([*place, "rw", "c"], b"c")
    await raw.wstat([*place, "rw", "c"], mode=0o755)
    await commit(raw, place)
    assert (await raw.stat("branch/master/ro/c")).mode == 0o775


async def test_23_merging_into_an_empty_branch_gives_the_other_side(raw: Raw) -> None:
    theirs = await commit_files(raw, "theirs", {"src/file": b"theirs"})
    place = await merge(raw, theirs)
    assert await raw.list([*place, "base"]) == []
    assert await raw.read([*place, "parents"]) == f"{theirs}\n".encode()
    await commit(raw, place)
    assert await raw.read("branch/master/ro/src/file") == b"theirs"


BASE: Contents = dict.fromkeys("abcdef", b"base")
OURS: Contents = {
    "a": b"ours",
    "c": b"ours",
    "d": None,
    "dir": b"a file",
    "dir2/file": b"in a directory",
    "f": None,
    "g": b"same",
    "h": b"ours",
}
THEIRS: Contents = {
    "a": b"theirs",
    "b": b"theirs",
    "dir/file": b"in a directory",
    "dir2": b"a file",
    "e": None,
    "f": b"theirs",
    "g": b"same",
    "h": b"theirs",
}


async def test_24_every_sort_of_conflict_is_named(raw: Raw) -> None:
    place = await merge(raw, await fork(raw, BASE, OURS, THEIRS))
    tree = [*place, "rw"]
    assert await raw.list(tree) == ["a", "b", "c", "dir", "dir2", "f", "g", "h"]
    contents = {name: await raw.read([*tree, name]) for name in await raw.list(tree)}
    assert contents == {
        "a": conflict("Changed on both branches"),
        "b": b"theirs",
        "c": b"ours",
        "dir": conflict("File vs dir"),
        "dir2": conflict("File vs dir"),
        "f": conflict("option: add/del"),
        "g": b"same",
        "h": conflict("default: add/add and no common ancestor"),
    }
    assert await raw.read([*place, "conflicts"]) == b"a\ndir\ndir2\nf\nh\n"


async def test_25_a_commit_waits_until_every_conflict_is_resolved(raw: Raw) -> None:
    place = await merge(raw, await fork(raw, BASE, OURS, THEIRS))
    tree = [*place, "rw"]
    with raw.refused("conflicts file is not empty", errno.EINVAL):
        await raw.write([*place, "ctl"], b"commit")
    for name in ("a", "dir", "dir2"):
        await raw.remove([*tree, name])
    await put(raw, place, "f", b"theirs")
    assert await raw.read([*place, "conflicts"]) == b"h\n"
    with raw.refused("conflicts file is not empty", errno.EINVAL):
        await raw.write([*place, "ctl"], b"commit")
    await raw.remove([*tree, "h"])
    assert await raw.read([*place, "conflicts"]) == b""
    await commit(raw, place)
    assert await raw.list("branch/master/ro") == ["b", "c", "f", "g"]
    assert await raw.read("branch/master/ro/f") == b"theirs"


async def test_a_commit_that_conflicts_fails_and_can_be_merged(raw: Raw) -> None:
    await commit_files(raw, "master", {"file": b"base"})
    place = await begin(raw, "master")
    await put(raw, place, "file", b"ours")
    theirs = await commit_files(raw, "master", {"file": b"theirs"})
    with raw.refused("Merge conflict: file", errno.EBUSY):
        await raw.write([*place, "ctl"], b"commit")
    await raw.write([*place, "merge"], theirs.encode())
    await put(raw, place, "file", b"both")
    await commit(raw, place)
    assert await raw.read("branch/master/ro/file") == b"both"
