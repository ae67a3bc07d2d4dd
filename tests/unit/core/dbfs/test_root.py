"""The root of the tree and what is fixed about it."""

from __future__ import annotations

import pytest

from datakit_core.dbfs import DatabaseFiles
from datakit_core.errors import NoEntry, ReadOnly
from tests.support.files import Files


async def test_the_root_lists_six_directories_in_order(files: Files) -> None:
    names = await files.list()
    assert names == ["branch", "trees", "commits", "snapshots", "remotes", "debug"]


async def test_the_root_cannot_be_changed(files: Files) -> None:
    with pytest.raises(ReadOnly, match="Directory is read-only"):
        await files.make("new")


async def test_what_is_for_programs_is_there_but_not_listed(
    files: Files,
) -> None:
    assert await files.list(".datakit") == ["tree", "blob", "commit", "heads"]


async def test_other_names_are_absent(files: Files) -> None:
    with pytest.raises(NoEntry):
        await files.node("nowhere")


async def test_an_inode_is_the_same_in_a_listing_a_walk_and_a_stat(files: Files) -> None:
    await files.make("branch/master")
    for directory in ("", "branch", "branch/master", "debug", "debug/src"):
        for stat in await files.stats(directory):
            node = await files.node([*filter(None, directory.split("/")), stat.name])
            assert node.inode == stat.inode


async def test_inodes_are_unique(files: Files) -> None:
    await files.make("branch/master")
    await files.make("branch/master/transactions/one")
    directories = ["", "branch", "branch/master", "branch/master/transactions/one"]
    inodes = [stat.inode for name in directories for stat in await files.stats(name)]
    assert len(inodes) == len(set(inodes))


async def test_what_a_connection_makes_is_invisible_to_others(database: DatabaseFiles) -> None:
    one, other = (Files(database.connect()) for _ in range(2))
    await one.make("branch/master")
    await one.make("remotes/origin")
    assert await other.list("branch") == []
    assert await other.list("remotes") == []
