"""What every back end of the client API promises, checked through the API alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from datakit_core.client.api import (
    BlobId,
    Change,
    ChangeKind,
    CommitId,
    Database,
    Entry,
    FileMode,
    ObjectId,
    TreeId,
)
from datakit_core.errors import (
    AlreadyExists,
    ClientError,
    InvalidArgument,
    IsDirectory,
    MergeConflict,
    NoEntry,
    NotDirectory,
    NotFastForward,
    UnknownObject,
)
from tests.support.databases import BACK_ENDS
from tests.support.git import commit_file

pytestmark = pytest.mark.usefixtures("nonblocking")


T = TypeVar("T")

ABSENT = ObjectId("0123456789" * 4)


@pytest.fixture(params=sorted(BACK_ENDS))
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with BACK_ENDS[request.param](tmp_path / "database.git") as database:
        yield database


def closing(iterator: AsyncIterator[T]) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    """End ``iterator`` with the block; every back end has generators, which can be closed."""
    return aclosing(iterator)  # type: ignore[type-var]


async def commit_files(database: Database, branch: str, **files: bytes) -> CommitId:
    """Commit ``files``; two underscores in a name stand for a slash, as in ``src__main``."""
    async with database.transaction(branch) as transaction:
        for name, content in files.items():
            await transaction.write(name.replace("__", "/"), content)
        return await transaction.commit("a commit")


async def tree_of(database: Database, commit: CommitId) -> TreeId:
    return (await database.commit(commit)).tree


async def test_a_new_database_has_no_branches(database: Database) -> None:
    assert dict(await database.branches()) == {}
    assert await database.head("main") is None


async def test_a_commit_becomes_the_head(database: Database) -> None:
    commit = await commit_files(database, "main", src__main=b"hello")
    assert await database.head("main") == commit
    assert dict(await database.branches()) == {"main": commit}


async def test_a_commit_has_its_message_parents_and_author(database: Database) -> None:
    first = await commit_files(database, "main", a=b"1")
    async with database.transaction("main") as transaction:
        assert transaction.branch == "main"
        assert transaction.base == first
        await transaction.write("a", b"2")
        second = await transaction.commit("Change a\n\nBecause.\n")
    commit = await database.commit(second)
    assert commit.id == second
    assert commit.parents == (first,)
    assert commit.message == "Change a\n\nBecause.\n"
    assert commit.author.name == "datakit"
    assert commit.author.email == "datakit@mobyproject.org"
    assert commit.author.time >= (await database.commit(first)).author.time


async def test_an_empty_message_is_replaced(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"")
        commit = await transaction.commit("")
    assert (await database.commit(commit)).message == "(no commit message)"


async def test_files_are_read_back_by_path_and_by_id(database: Database) -> None:
    commit = await commit_files(database, "main", src__main=b"hello", top=b"")
    tree = await tree_of(database, commit)
    entry = await database.entry(tree, "src/main")
    assert entry is not None
    assert entry.mode is FileMode.NORMAL
    assert await database.blob(BlobId(entry.id)) == b"hello"
    assert await database.read(tree, "src/main") == b"hello"
    assert await database.read(tree, "top") == b""
    assert list(await database.tree(tree)) == ["src", "top"]


async def test_the_root_is_its_own_entry(database: Database) -> None:
    tree = await tree_of(database, await commit_files(database, "main", a=b"1"))
    assert await database.entry(tree, "") == Entry(FileMode.DIRECTORY, tree)


async def test_absent_things_are_reported_as_such(database: Database) -> None:
    tree = await tree_of(database, await commit_files(database, "main", src__main=b"hello"))
    assert await database.entry(tree, "none") is None
    assert await database.entry(tree, "src/main/below") is None
    with pytest.raises(NoEntry):
        await database.read(tree, "none")
    with pytest.raises(IsDirectory):
        await database.read(tree, "src")
    with pytest.raises(UnknownObject):
        await database.commit(CommitId(ABSENT))
    with pytest.raises(UnknownObject):
        await database.tree(TreeId(ABSENT))


async def test_executables_and_links_keep_their_modes(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("run", b"#!/bin/sh\n", FileMode.EXECUTABLE)
        await transaction.write("link", b"run", FileMode.LINK)
        tree = await tree_of(database, await transaction.commit("modes"))
    modes = {name: entry.mode for name, entry in (await database.tree(tree)).items()}
    assert modes == {"run": FileMode.EXECUTABLE, "link": FileMode.LINK}
    assert await database.read(tree, "link") == b"run"


async def test_a_transaction_shows_its_own_edits_and_nobody_elses(database: Database) -> None:
    await commit_files(database, "main", a=b"1", dir__b=b"2")
    async with database.transaction("main") as mine, database.transaction("main") as other:
        await mine.write("a", b"changed")
        await mine.remove("dir/b")
        assert await mine.read("a") == b"changed"
        assert await mine.entry("dir/b") is None
        assert list(await mine.list()) == ["a", "dir"]
        assert await other.read("a") == b"1"
        assert await other.entry("dir/b") is FileMode.NORMAL
        assert await other.entry("") is FileMode.DIRECTORY


async def test_edits_that_make_no_sense_are_refused(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("file", b"")
        await transaction.write("dir/file", b"")
        with pytest.raises(NotDirectory):
            await transaction.write("file/below", b"")
        with pytest.raises(IsDirectory):
            await transaction.write("dir", b"")
        with pytest.raises(NoEntry):
            await transaction.remove("none")
        with pytest.raises(NoEntry):
            await transaction.read("none")


async def test_leaving_a_transaction_gives_it_up(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"1")
    assert await database.head("main") is None
    with pytest.raises(ClientError):
        await transaction.write("b", b"2")


async def test_a_committed_transaction_is_over(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"1")
        await transaction.commit("once")
        with pytest.raises(ClientError):
            await transaction.commit("twice")
        await transaction.close()


async def test_changes_of_different_files_are_merged(database: Database) -> None:
    first = await commit_files(database, "main", a=b"1", b=b"1")
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"mine")
        theirs = await commit_files(database, "main", b=b"theirs")
        head = await transaction.commit("mine")
    merged = await database.commit(head)
    assert merged.parents[0] == theirs
    assert (await database.commit(merged.parents[1])).parents == (first,)
    assert merged.message == "mine"
    assert await database.read(merged.tree, "a") == b"mine"
    assert await database.read(merged.tree, "b") == b"theirs"


async def test_a_conflict_names_the_paths_and_leaves_the_transaction_open(
    database: Database,
) -> None:
    await commit_files(database, "main", dir__a=b"1")
    async with database.transaction("main") as transaction:
        await transaction.write("dir/a", b"mine")
        theirs = await commit_files(database, "main", dir__a=b"theirs")
        with pytest.raises(MergeConflict) as caught:
            await transaction.commit("mine")
        assert caught.value.conflicts == ("dir/a",)
        assert await database.head("main") == theirs
        await transaction.write("dir/a", b"theirs")
        merged = await database.commit(await transaction.commit("mine"))
    assert await database.read(merged.tree, "dir/a") == b"theirs"


async def test_commit_if_never_merges(database: Database) -> None:
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"1")
        first = await transaction.commit_if(None, "first")
    async with database.transaction("main") as transaction:
        await transaction.write("b", b"2")
        other = await commit_files(database, "main", c=b"3")
        for expected in (first, None):
            with pytest.raises(NotFastForward):
                await transaction.commit_if(expected, "late")
    assert await database.head("main") == other
    async with database.transaction("main") as transaction:
        await transaction.write("b", b"2")
        last = await transaction.commit_if(other, "in time")
    assert await database.head("main") == last


async def test_nothing_of_many_concurrent_increments_is_lost(database: Database) -> None:
    async def increment() -> None:
        while True:
            async with database.transaction("main") as transaction:
                old = 0
                if await transaction.entry("counter") is not None:
                    old = int(await transaction.read("counter"))
                await asyncio.sleep(0)
                await transaction.write("counter", b"%d" % (old + 1))
                try:
                    await transaction.commit_if(transaction.base, "count")
                except NotFastForward:
                    continue
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(increment())
    head = await database.head("main")
    assert head is not None
    assert await database.read(await tree_of(database, head), "counter") == b"10"


async def test_history_follows_first_parents(database: Database) -> None:
    commits = [await commit_files(database, "main", a=b"%d" % n) for n in range(5)]
    async with closing(database.history(commits[-1])) as history:
        seen = [commit.id async for commit in history]
    assert seen == commits[::-1]


async def test_diff_lists_changed_files(database: Database) -> None:
    old = await tree_of(database, await commit_files(database, "main", a=b"1", b=b"1", d__x=b"1"))
    async with database.transaction("main") as transaction:
        await transaction.write("a", b"2")
        await transaction.write("e/f/g", b"3")
        await transaction.remove("d")
        new = await tree_of(database, await transaction.commit("edits"))
    assert list(await database.diff(old, new)) == [
        Change(ChangeKind.MODIFIED, "a"),
        Change(ChangeKind.REMOVED, "d/x"),
        Change(ChangeKind.ADDED, "e/f/g"),
    ]
    assert list(await database.diff(new, new)) == []


async def test_a_watch_begins_with_the_present_and_shows_each_newest_head(
    database: Database,
) -> None:
    async with closing(database.watch_head("main")) as heads:
        assert await anext(heads) is None
        first = await commit_files(database, "main", a=b"1")
        assert await anext(heads) == first
        await commit_files(database, "main", a=b"2")
        last = await commit_files(database, "main", a=b"3")
        seen = await anext(heads)
        while seen != last:
            seen = await anext(heads)
        await database.remove_branch("main")
        assert await anext(heads) is None


async def test_a_watch_of_one_branch_is_silent_about_others(database: Database) -> None:
    async with closing(database.watch_head("main")) as heads:
        assert await anext(heads) is None
        await commit_files(database, "other", a=b"1")
        head = await commit_files(database, "main", a=b"1")
        assert await anext(heads) == head


async def test_fast_forward_moves_only_forward(database: Database) -> None:
    first = await commit_files(database, "main", a=b"1")
    second = await commit_files(database, "main", a=b"2")
    await database.fast_forward("copy", first)
    await database.fast_forward("copy", second)
    await database.fast_forward("copy", second)
    assert await database.head("copy") == second
    with pytest.raises(NotFastForward):
        await database.fast_forward("copy", first)
    with pytest.raises((UnknownObject, NoEntry)):
        await database.fast_forward("copy", CommitId(ABSENT))


async def test_a_branch_is_made_at_a_commit_and_never_moved(database: Database) -> None:
    first = await commit_files(database, "main", a=b"1")
    second = await commit_files(database, "main", a=b"2")
    await database.create_branch("a/copy", first)
    for commit in (first, second):
        with pytest.raises(AlreadyExists):
            await database.create_branch("a/copy", commit)
    assert await database.head("a/copy") == first
    with pytest.raises((UnknownObject, NoEntry)):
        await database.create_branch("new", CommitId(ABSENT))
    assert await database.head("new") is None


async def test_a_removed_branch_is_gone(database: Database) -> None:
    await commit_files(database, "a/b", x=b"1")
    await database.remove_branch("a/b")
    await database.remove_branch("a/b")
    assert dict(await database.branches()) == {}
    assert await database.head("a/b") is None
    await commit_files(database, "a", x=b"1")


async def test_a_branch_is_renamed_in_one_step(database: Database) -> None:
    head = await commit_files(database, "a/b", x=b"1")
    await commit_files(database, "taken", x=b"2")
    await database.rename_branch("a/b", "a%/c")
    assert await database.head("a%/c") == head
    assert await database.head("a/b") is None
    assert set(await database.branches()) == {"a%/c", "taken"}
    for new in ("taken", "a%/c"):
        with pytest.raises(AlreadyExists):
            await database.rename_branch("a%/c", new)
    for new in ("else", "none"):
        with pytest.raises(NoEntry):
            await database.rename_branch("none", new)
    assert await database.head("a%/c") == head


async def test_a_graft_puts_existing_objects_anywhere(database: Database) -> None:
    tree = await tree_of(database, await commit_files(database, "main", dir__a=b"1", top=b"2"))
    directory = await database.entry(tree, "dir")
    top = await database.entry(tree, "top")
    assert directory is not None
    assert top is not None
    async with database.transaction("other") as transaction:
        await transaction.graft("deep/copy", directory)
        await transaction.graft("renamed", top)
        assert await transaction.read("deep/copy/a") == b"1"
        new = await tree_of(database, await transaction.commit("graft"))
    assert await database.entry(new, "deep/copy") == directory
    assert await database.read(new, "renamed") == b"2"


async def test_a_tree_is_made_of_contents_and_entries(database: Database) -> None:
    tree = await tree_of(database, await commit_files(database, "main", dir__a=b"1"))
    directory = await database.entry(tree, "dir")
    assert directory is not None
    made = await database.import_tree({"kept": directory, "new/file": b"2"})
    assert await database.read(made, "kept/a") == b"1"
    assert await database.read(made, "new/file") == b"2"
    async with database.transaction("other") as transaction:
        await transaction.graft("", Entry(FileMode.DIRECTORY, made))
        assert await tree_of(database, await transaction.commit("import")) == made


async def test_a_directory_is_imported_with_links_and_modes(
    database: Database, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(b"content\r\n")
    (source / "run").write_bytes(b"#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("/nowhere")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_bytes(b"")
    tree = await database.import_directory(source)
    modes = {name: entry.mode for name, entry in (await database.tree(tree)).items()}
    assert modes == {
        "link": FileMode.LINK,
        "run": FileMode.EXECUTABLE,
        "sub": FileMode.DIRECTORY,
    }
    assert await database.read(tree, "sub/file") == b"content\r\n"
    assert await database.read(tree, "link") == b"/nowhere"
    assert await database.entry(tree, "sub/empty") is None


async def test_a_commit_is_fetched_from_another_repository(
    database: Database, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    there = commit_file(other, "file", b"fetched")
    commit = await database.fetch(str(other), "refs/heads/main")
    assert commit == there
    assert await database.read(await tree_of(database, commit), "file") == b"fetched"
    assert dict(await database.branches()) == {}


async def test_merge_brings_a_commit_into_a_branch(database: Database) -> None:
    base = await commit_files(database, "main", shared=b"1")
    assert await database.merge("side", base) == base, "an absent branch is made"
    side = await commit_files(database, "side", theirs=b"2")
    assert await database.merge("main", side) == side, "the branch simply moves"
    ours = await commit_files(database, "main", ours=b"3")
    later = await commit_files(database, "side", theirs=b"4")
    merged = await database.merge("main", later, "Both")
    commit = await database.commit(merged)
    assert (commit.parents, commit.message) == ((ours, later), "Both")
    assert sorted(await database.tree(commit.tree)) == ["ours", "shared", "theirs"]
    assert await database.read(commit.tree, "theirs") == b"4"
    assert await database.head("main") == merged
    for known in (base, side, later, merged):
        assert await database.merge("main", known) == merged, "it has it already"


async def test_a_merge_with_a_conflict_changes_nothing(database: Database) -> None:
    base = await commit_files(database, "main", file=b"1", other=b"1")
    await database.fast_forward("side", base)
    side = await commit_files(database, "side", file=b"2", other=b"2")
    main = await commit_files(database, "main", file=b"3", other=b"3")
    with pytest.raises(MergeConflict) as caught:
        await database.merge("main", side)
    assert caught.value.conflicts == ("file", "other")
    assert await database.head("main") == main
    with pytest.raises(UnknownObject):
        await database.merge("main", CommitId(ABSENT))


LONG = bytes(range(256)) * 12_000
"""3 MB: read through a spool, and in several messages."""


async def several(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def write_stream(
    database: Database, pieces: AsyncIterator[bytes], mode: FileMode = FileMode.NORMAL
) -> Entry:
    """Commit what comes in ``pieces`` as a file in a new directory; where it is."""
    async with database.transaction("main") as transaction:
        await transaction.write_stream("logs/new/file", pieces, mode)
        tree = await tree_of(database, await transaction.commit("write"))
    entry = await database.entry(tree, "logs/new/file")
    assert entry is not None
    return entry


async def part_of(
    database: Database, blob: BlobId, offset: int = 0, length: int | None = None
) -> list[bytes]:
    async with closing(database.stream_blob(blob, offset, length)) as pieces:
        return [piece async for piece in pieces]


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b""],
        [b"one", b"", b"two\n"],
        [LONG],
        [LONG[start : start + 100_000] for start in range(0, len(LONG), 100_000)],
    ],
    ids=["none", "an empty one", "small ones", "a large one", "many"],
)
async def test_a_file_is_written_and_read_in_pieces(
    database: Database, pieces: list[bytes]
) -> None:
    content = b"".join(pieces)
    entry = await write_stream(database, several(*pieces), FileMode.EXECUTABLE)
    assert entry.mode is FileMode.EXECUTABLE
    blob = BlobId(entry.id)
    assert await database.blob_size(blob) == len(content)
    read = await part_of(database, blob)
    assert b"".join(read) == content
    assert all(0 < len(piece) <= 1 << 20 for piece in read)


@pytest.mark.parametrize("content", [b"0123456789", LONG], ids=["short", "long"])
async def test_any_part_of_a_blob_is_read(database: Database, content: bytes) -> None:
    blob = BlobId((await write_stream(database, several(content))).id)
    size = len(content)
    for offset, length in ((3, 4), (size - 2, 100), (5, None), (0, 0), (size, None), (size + 1, 1)):
        end = None if length is None else offset + length
        assert b"".join(await part_of(database, blob, offset, length)) == content[offset:end]


async def test_ranges_that_cannot_be_are_refused(database: Database) -> None:
    blob = BlobId((await write_stream(database, several(b"content"))).id)
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(InvalidArgument, match="Negative"):
            await part_of(database, blob, offset, length)


async def test_a_blob_that_is_not_there_has_no_size_and_no_pieces(database: Database) -> None:
    entry = await write_stream(database, several(b"content"))
    tree = await tree_of(database, await commit_files(database, "other", a=b"1"))
    assert entry.id != tree
    for absent in (BlobId(ABSENT), BlobId(tree)):
        with pytest.raises(UnknownObject):
            await database.blob_size(absent)
        with pytest.raises(UnknownObject):
            await part_of(database, absent)


async def test_who_stops_reading_a_long_blob_leaves_nothing_behind(database: Database) -> None:
    blob = BlobId((await write_stream(database, several(LONG))).id)
    for _ in range(3):
        async with closing(database.stream_blob(blob, 1000)) as pieces:
            first = await anext(pieces)
        assert first == LONG[1000 : 1000 + len(first)]
    assert await database.blob(blob) == LONG


async def test_a_stream_replaces_the_whole_file(database: Database) -> None:
    await write_stream(database, several(LONG))
    entry = await write_stream(database, several(b"short"))
    assert await database.blob(BlobId(entry.id)) == b"short"


async def test_only_files_are_written_as_streams(database: Database) -> None:
    async with database.transaction("main") as transaction:
        for mode in (FileMode.LINK, FileMode.DIRECTORY):
            with pytest.raises(InvalidArgument):
                await transaction.write_stream("file", several(b"x"), mode)
        assert await transaction.entry("file") is None
        await transaction.write("directory/file", b"x")
        with pytest.raises(IsDirectory):
            await transaction.write_stream("directory", several(b"x"))
    with pytest.raises(ClientError):
        await transaction.write_stream("file", several(b"x"))


async def test_a_stream_that_fails_raises_and_nothing_is_committed(database: Database) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield LONG
        raise OSError("the pipe broke")

    async with database.transaction("main") as transaction:
        with pytest.raises(OSError, match="the pipe broke"):
            await transaction.write_stream("file", failing())
    assert await database.head("main") is None
