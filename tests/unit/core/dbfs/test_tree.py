"""Read-only trees: of a snapshot and of a head that moves."""

from __future__ import annotations

import pytest

from datakit_core.dbfs import DatabaseFiles
from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.tree import FixedTree, TreeDirectory
from datakit_core.errors import InvalidArgument, NoEntry, NotPermitted, ReadOnly
from datakit_core.store import FileMode, Store
from datakit_core.vfs import Kind
from tests.support.files import Files, value_of


@pytest.fixture
async def files(store: Store) -> Files:
    transaction = store.transaction("master")
    transaction.tree.put("dir/file", b"0123456789")
    transaction.tree.put("run", b"#!/bin/sh\n", FileMode.EXECUTABLE)
    transaction.tree.put("link", b"dir/file", FileMode.LINK)
    transaction.tree.put("big", b"x" * 300_000)
    commit = store.commit(await transaction.commit())
    origin = FixedTree(store, Contents(store), commit.tree, inode=17)
    return Files(TreeDirectory(origin))


async def test_a_directory_lists_kinds_lengths_and_targets(files: Files) -> None:
    stats = {stat.name: (stat.kind, stat.length, stat.target) for stat in await files.stats()}
    assert stats == {
        "big": (Kind.FILE, 300_000, ""),
        "dir": (Kind.DIRECTORY, 0, ""),
        "link": (Kind.LINK, 8, "dir/file"),
        "run": (Kind.EXECUTABLE, 10, ""),
    }


async def test_what_never_changes_may_be_cached(files: Files) -> None:
    assert {stat.version for stat in await files.stats()} == {1}
    assert (await files.stat("dir/file")).version == 1


async def test_a_file_is_read_in_pieces(files: Files) -> None:
    handle = await files.open("dir/file")
    assert await value_of(handle.read(2, 3)) == b"234"
    assert await value_of(handle.read(8, 100)) == b"89"
    assert await value_of(handle.read(10, 100)) == b""
    with pytest.raises(InvalidArgument, match=r"Offset 11 beyond end-of-file \(len = 10\)"):
        await value_of(handle.read(11, 1))


async def test_a_big_file_is_read_in_pieces(files: Files) -> None:
    handle = await files.open("big")
    assert await value_of(handle.read(299_990, 100)) == b"x" * 10


async def test_a_link_is_read_as_its_target(files: Files) -> None:
    assert await files.read("link") == b"dir/file"


async def test_an_absent_name_is_absent(files: Files) -> None:
    for path in ("nothing", "dir/nothing", "dir/file2"):
        with pytest.raises(NoEntry):
            await files.node(path)


async def test_a_step_of_a_walk_is_one_name(files: Files) -> None:
    with pytest.raises(NoEntry):
        await files.node(["dir/file"])


async def test_nothing_can_be_changed(files: Files) -> None:
    node = await files.node("dir/file")
    with pytest.raises(ReadOnly, match="Directory is read-only"):
        await files.make("dir/new", Kind.FILE)
    with pytest.raises(ReadOnly, match="Read-only file"):
        await value_of((await files.open("dir/file")).write(0, b"x"))
    with pytest.raises(ReadOnly):
        await value_of(node.truncate(0))
    with pytest.raises(NotPermitted):
        await value_of(node.remove())
    with pytest.raises(NotPermitted):
        await value_of(node.rename("other"))


async def test_a_part_of_a_listing_is_a_listing(files: Files) -> None:
    listing = await value_of((await files.directory()).list())
    assert [stat.name for stat in listing[1:3]] == ["dir", "link"]


async def test_walking_and_reading_never_waits(files: Files) -> None:
    """The fast path: every answer is a value, so that the server needs no task."""
    directory = files.root.lookup("dir")
    assert isinstance(directory, TreeDirectory)
    node = directory.lookup("file")
    assert not hasattr(node, "send")
    handle = (await files.node("dir/file")).open()  # type: ignore[attr-defined]
    assert handle.read(0, 4) == b"0123"


async def test_a_node_of_a_live_tree_notices_that_its_file_became_a_directory(
    store: Store, files: Files
) -> None:
    live = Files(DatabaseFiles(store).connect())
    node = await live.node("branch/master/ro/run")
    handle = await live.open("branch/master/ro/run")
    transaction = store.transaction("master")
    transaction.tree.remove("run")
    transaction.tree.put("run/inside", b"")
    await transaction.commit()
    with pytest.raises(NoEntry):
        await value_of(node.stat())
    assert await value_of(handle.read(0, 2)) == b"#!"
