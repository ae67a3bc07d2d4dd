"""The tree ``rw``: nodes that work by path."""

from __future__ import annotations

import pytest

from datakit_core.errors import (
    AlreadyExists,
    CrossDevice,
    InvalidArgument,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotEmpty,
    NotPermitted,
)
from datakit_core.vfs import Directory, File, Kind
from tests.support.files import Files, value_of


@pytest.fixture
async def rw(files: Files) -> Files:
    await files.make("branch/master")
    await files.make("branch/master/transactions/t")
    tree = Files(await files.directory("branch/master/transactions/t/rw"))
    await tree.make("dir")
    await tree.write("dir/file", b"12345")
    return tree


async def kind_of(files: Files, path: str) -> Kind:
    return (await files.stat(path)).kind


async def test_files_directories_and_links_can_be_made(rw: Files) -> None:
    await rw.make("run", Kind.EXECUTABLE)
    await rw.make("link", Kind.LINK, "dir/file")
    stats = {stat.name: (stat.kind, stat.length, stat.target) for stat in await rw.stats()}
    assert stats == {
        "dir": (Kind.DIRECTORY, 0, ""),
        "link": (Kind.LINK, 8, "dir/file"),
        "run": (Kind.EXECUTABLE, 0, ""),
    }


async def test_creating_over_a_file_replaces_it(rw: Files) -> None:
    await rw.make("dir/file", Kind.EXECUTABLE)
    assert await rw.read("dir/file") == b""
    assert await kind_of(rw, "dir/file") is Kind.EXECUTABLE


async def test_creating_over_a_directory_is_refused(rw: Files) -> None:
    with pytest.raises(IsDirectory):
        await rw.make("dir", Kind.FILE)
    for taken in ("dir", "dir/file"):
        with pytest.raises(AlreadyExists):
            await rw.make(taken)


@pytest.mark.parametrize(
    "name",
    [".git", ".GIT", ".git ", "git~1", "a/b", "../a", "a\\b", "a\0b", "", ".", "..", "x" * 256],
)
async def test_names_that_are_no_file_names_are_refused(rw: Files, name: str) -> None:
    for kind in (Kind.FILE, Kind.DIRECTORY, Kind.LINK):
        with pytest.raises(InvalidArgument):
            await rw.make([name], kind, "target")
    with pytest.raises(InvalidArgument):
        await value_of((await rw.node("dir/file")).rename(name))
    assert await rw.list() == ["dir"]


async def test_a_step_of_a_walk_is_one_name(rw: Files) -> None:
    with pytest.raises(NoEntry):
        await rw.node(["dir/file"])


@pytest.mark.parametrize(
    ("length", "content"), [(4, b"1234"), (5, b"12345"), (7, b"12345\0\0"), (0, b"")]
)
async def test_truncating_cuts_or_extends(rw: Files, length: int, content: bytes) -> None:
    await value_of((await rw.node("dir/file")).truncate(length))
    assert await rw.read("dir/file") == content


async def test_writing_overwrites_appends_and_fills_gaps(rw: Files) -> None:
    handle = await rw.open("dir/file")
    assert await value_of(handle.write(1, b"xx")) == 2
    assert await rw.read("dir/file") == b"1xx45"
    await value_of(handle.write(7, b"y"))
    assert await value_of(handle.read(0, 100)) == b"1xx45\0\0y"
    with pytest.raises(InvalidArgument, match=r"Offset 9 beyond end-of-file \(len = 8\)"):
        await value_of(handle.read(9, 1))


async def test_a_removed_file_is_absent_until_it_is_written_again(rw: Files) -> None:
    node = await rw.node("dir/file")
    handle = await rw.open("dir/file")
    await value_of(node.remove())
    assert isinstance(node, File)
    with pytest.raises(NoEntry):
        node.stat()
    with pytest.raises(NoEntry):
        node.open()
    with pytest.raises(NoEntry):
        node.remove()
    with pytest.raises(NoEntry):
        handle.read(0, 1)
    await value_of(handle.write(0, b"again"))
    assert await rw.read("dir/file") == b"again"


async def test_removing_a_directory_removes_what_is_in_it(rw: Files) -> None:
    node = await rw.directory("dir")
    await value_of(node.remove())
    assert await rw.list() == []
    with pytest.raises(NoEntry):
        await value_of(node.create("file", Kind.FILE))
    with pytest.raises(NoEntry):
        await value_of(node.list())


async def test_a_directory_that_became_a_file_says_so(rw: Files) -> None:
    node = await rw.directory("dir")
    await value_of(node.remove())
    await rw.make("dir", Kind.FILE)
    with pytest.raises(NotDirectory):
        await value_of(node.create("file", Kind.FILE))
    with pytest.raises(NoEntry):
        await value_of(node.stat())


async def test_a_file_that_became_a_directory_says_so(rw: Files) -> None:
    node = await rw.node("dir/file")
    handle = await rw.open("dir/file")
    await rw.remove("dir/file")
    await rw.make("dir/file")
    assert isinstance(node, File)
    with pytest.raises(IsDirectory):
        node.open()
    with pytest.raises(IsDirectory):
        handle.write(0, b"x")
    with pytest.raises(IsDirectory):
        handle.read(0, 1)


async def test_renaming_follows_the_node(rw: Files) -> None:
    node = await rw.node("dir/file")
    await value_of(node.rename("other"))
    assert await rw.list("dir") == ["other"]
    assert (await value_of(node.stat())).name == "other"


async def test_renaming_over_something(rw: Files) -> None:
    await rw.make("full")
    await rw.make("full/file", Kind.FILE)
    await rw.make("empty")
    with pytest.raises(IsDirectory):
        await value_of((await rw.node("dir")).rename("full"))
    await value_of((await rw.node("dir")).rename("empty"))
    assert await rw.list() == ["empty", "full"]
    assert await rw.read("empty/file") == b"12345"
    gone = await rw.node("empty/file")
    await value_of(gone.remove())
    with pytest.raises(NoEntry):
        await value_of(gone.rename("again"))


async def test_moving_to_another_directory_follows_the_node(rw: Files) -> None:
    await rw.make("other")
    node = await rw.node("dir/file")
    await value_of(node.move(await rw.directory("other"), "moved"))
    assert (await rw.list("dir"), await rw.list("other")) == ([], ["moved"])
    assert (await value_of(node.stat())).name == "moved"
    with pytest.raises(InvalidArgument):
        await value_of(node.move(rw.root, "a/b"))


async def test_moving_out_of_the_transaction_is_for_copying_programs(
    rw: Files, files: Files
) -> None:
    await files.make("branch/master/transactions/u")
    node = await rw.node("dir/file")
    for place in ("branch/master/transactions/u/rw", "branch/master/ro", "branch"):
        with pytest.raises(CrossDevice):
            await value_of(node.move(await files.directory(place), "file"))
    assert await rw.list("dir") == ["file"]


async def test_rmdir_spares_a_directory_that_is_not_empty(rw: Files) -> None:
    with pytest.raises(NotEmpty):
        await value_of((await rw.directory("dir")).remove_empty())
    await rw.remove("dir/file")
    await value_of((await rw.directory("dir")).remove_empty())
    assert await rw.list() == []
    with pytest.raises(NotPermitted):
        await value_of(rw.root.remove_empty())


async def test_a_file_changes_its_kind(rw: Files) -> None:
    node = await rw.node("dir/file")
    for kind in (Kind.EXECUTABLE, Kind.FILE, Kind.LINK):
        await value_of(node.chmod(kind))
        assert await kind_of(rw, "dir/file") is kind
    assert (await value_of(node.stat())).target == "12345"
    await value_of(node.chmod(Kind.LINK, "elsewhere"))
    assert await rw.read("dir/file") == b"elsewhere"


async def test_a_directory_has_no_kind_to_change(rw: Files) -> None:
    with pytest.raises(NotPermitted):
        await value_of((await rw.node("dir")).chmod(Kind.FILE))
    with pytest.raises(NotPermitted):
        await value_of((await rw.node("dir/file")).chmod(Kind.DIRECTORY))


async def test_rw_itself_stays(rw: Files) -> None:
    with pytest.raises(NotPermitted):
        await value_of(rw.root.remove())
    with pytest.raises(NotPermitted):
        await value_of(rw.root.rename("other"))


async def test_empty_directories_survive_until_the_commit(rw: Files) -> None:
    await rw.make("dir/sub")
    await rw.remove("dir/file")
    assert await rw.list() == ["dir"]
    assert await rw.list("dir") == ["sub"]
    assert isinstance(await rw.node("dir/sub"), Directory)


async def test_a_listing_survives_what_happens_meanwhile(rw: Files) -> None:
    listing = await value_of((await rw.directory("dir")).list())
    await rw.remove("dir/file")
    assert [stat.name for stat in listing] == ["file"]
