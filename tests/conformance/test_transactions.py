"""Transactions: scenarios 11 to 20 of the conformance list."""

from __future__ import annotations

import errno

import pytest

from datakit_core.ninep.messages import Mode, OpenMode
from datakit_core.store import CommitId, ObjectId
from tests.support.raw import Raw, RawError
from tests.support.scenarios import begin, commit, commit_files, head_of, put
from tests.support.served import Served

pytestmark = pytest.mark.usefixtures("nonblocking")


def parents_of(served: Served, commit: str) -> tuple[str, ...]:
    return served.store.commit(CommitId(ObjectId(commit))).parents


async def test_11_a_file_is_committed(raw: Raw, served: Served) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "src/Makefile", b"all: build test")
    assert await raw.read([*place, "parents"]) == b""
    await commit(raw, place, "My commit")
    head = await head_of(raw, "master")
    assert (await raw.stat("branch/master/ro/src/Makefile")).length == 15
    assert served.store.commit(CommitId(ObjectId(head))).message == "My commit"
    assert await raw.read(f"snapshots/{head}/msg") == b"My commit\n"
    assert await raw.list("branch/master/transactions") == []


async def test_12_parents_are_the_head_unless_they_are_set(raw: Raw, served: Served) -> None:
    first = await commit_files(raw, "master", {"file": b"1"})
    second = await commit_files(raw, "master", {"file": b"2"})
    assert parents_of(served, first) == ()
    assert parents_of(served, second) == (first,)
    place = await begin(raw, "dev")
    await raw.write([*place, "parents"], f"{second}\n".encode())
    await put(raw, place, "file", b"3")
    await commit(raw, place)
    assert parents_of(served, await head_of(raw, "dev")) == (second,)


async def test_13_bad_parents_are_noticed_by_the_commit(raw: Raw) -> None:
    place = await begin(raw, "master")
    for parents, text, number in (
        (b"hello", 'invalid-hash "hello": expected 40 hexadecimal digits', errno.EINVAL),
        (b"1" * 40, "No such file or directory", errno.ENOENT),
    ):
        await raw.write([*place, "parents"], parents)
        with raw.refused(text, number):
            await raw.write([*place, "ctl"], b"commit")
    for name in ("hello", "1" * 40):
        with pytest.raises(RawError):
            await raw.walk(["commits", name])


async def test_14_transactions_may_be_nested(raw: Raw, served: Served) -> None:
    extra = await commit_files(raw, "side", {"side": b""})
    first = await commit_files(raw, "master", {"first": b""})
    outer = await begin(raw, "master")
    await put(raw, outer, "outer", b"")
    inner = await commit_files(raw, "master", {"inner": b""})
    await raw.write([*outer, "parents"], f"{first}\n{extra}\n".encode())
    await commit(raw, outer, "Outer")
    head = await head_of(raw, "master")
    assert parents_of(served, head)[0] == inner
    assert parents_of(served, parents_of(served, head)[1]) == (first, extra)
    assert served.store.commit(CommitId(ObjectId(head))).message == "Outer"
    assert await raw.list("branch/master/ro") == ["first", "inner", "outer"]


async def test_15_an_abandoned_transaction_leaves_no_head(raw: Raw) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "file", b"content")
    await raw.write([*place, "ctl"], b"close")
    assert await raw.read("branch/master/head") == b"\n"
    with raw.refused("No such file or directory", errno.ENOENT):
        await raw.walk(place)


async def test_16_making_directories_tolerates_existing_ones(raw: Raw, served: Served) -> None:
    place = await begin(raw, "master")
    for depth in range(1, 4):
        await raw.mkdir([*place, "rw", *"abc"[:depth]])
        with raw.refused("Already exists", errno.EEXIST):
            await raw.mkdir([*place, "rw", *"abc"[:depth]])
    await commit(raw, place)
    assert await raw.list("branch/master/ro") == []
    assert parents_of(served, await head_of(raw, "master")) == ()


async def test_17_a_file_is_created_or_replaced(raw: Raw) -> None:
    place = await begin(raw, "master")
    file = [*place, "rw", "file"]
    with raw.refused("No such file or directory", errno.ENOENT):
        await raw.stat(file)
    await raw.create(file, data=b"Data number one")
    await raw.create(file, data=b"Data2")
    assert await raw.read(file) == b"Data2"
    await commit(raw, place)
    assert await raw.read("branch/master/ro/file") == b"Data2"


async def test_18_a_directory_is_removed_with_its_content(raw: Raw) -> None:
    await commit_files(raw, "master", {"src/file": b"", "doc/file": b""})
    place = await begin(raw, "master")
    assert await raw.list([*place, "rw"]) == ["doc", "src"]
    await raw.remove([*place, "rw", "src"])
    assert await raw.list([*place, "rw"]) == ["doc"]
    await commit(raw, place)
    assert await raw.list("branch/master/ro") == ["doc"]


async def test_19_a_commit_without_a_newline_through_a_fid_that_reads_and_writes(
    raw: Raw,
) -> None:
    await raw.mkdir("branch/master")
    place = ["branch", "master", "transactions", "1"]
    await raw.mkdir(place)
    await put(raw, place, "a/b/c", b"content")
    message = await raw.open([*place, "msg"], OpenMode.READ_WRITE)
    await raw.write_at(message, 0, b"a message")
    control = await raw.open([*place, "ctl"], OpenMode.READ_WRITE)
    await raw.write_at(control, 0, b"commit")
    head = await head_of(raw, "master")
    assert await raw.read_at(control, 6) == f"{head}\n".encode()
    assert await raw.read("branch/master/ro/a/b/c") == b"content"


async def test_20_directories_come_and_go(raw: Raw) -> None:
    place = await begin(raw, "master")
    tree = [*place, "rw"]
    deep = [*tree, "a", "b", "c"]
    for depth in (1, 2, 3):
        await raw.mkdir([*tree, *"abc"[:depth]])
    for depth in (3, 2, 1):
        await raw.remove([*tree, *"abc"[:depth]])
    assert await raw.list(tree) == []
    for depth in (1, 2, 3):
        await raw.mkdir([*tree, *"abc"[:depth]])
    directory = await raw.walk(deep)
    await raw.create_in(directory, "file")
    assert await raw.write_at(directory, 0, b"hello world") == 11
    assert await raw.read_at(directory, 0) == b"hello world"


async def test_a_transaction_is_read_only_but_for_its_files(raw: Raw) -> None:
    place = await begin(raw, "master")
    with raw.refused("Directory is read-only", errno.EROFS):
        await raw.mkdir([*place, "new"])
    with raw.refused("Operation not permitted", errno.EPERM):
        await raw.remove(place)
    with raw.refused("Operation not permitted", errno.EPERM):
        await raw.remove([*place, "ctl"])
    with raw.refused('Unknown command "nonsense"', errno.EINVAL):
        await raw.write([*place, "ctl"], b"nonsense\n")
    with raw.refused("Already exists", errno.EEXIST):
        await raw.mkdir(place)
    with raw.refused("Can only contain directories", errno.EPERM):
        await raw.create(["branch", "master", "transactions", "file"], Mode(0o644))
