"""Transactions as directories: their files, how they end, what they may not do."""

from __future__ import annotations

import pytest

from datakit_core.dbfs import DatabaseFiles, Limits
from datakit_core.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidHash,
    MergeConflict,
    NoEntry,
    NotFastForward,
    NotPermitted,
    ReadOnly,
    TooMany,
    UnknownObject,
)
from datakit_core.store import CommitId, ObjectId, Store
from datakit_core.vfs import Kind
from tests.support.files import Files, value_of

T = "branch/master/transactions/t"


@pytest.fixture
async def started(files: Files) -> Files:
    await files.make("branch/master")
    await files.make(T)
    return files


async def commit(store: Store, branch: str, path: str, content: bytes) -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put(path, content)
    return await transaction.commit()


async def test_a_transaction_lists_its_files(started: Files) -> None:
    names = await started.list(T)
    assert names == ["ctl", "diff", "merge", "msg", "origin", "parents", "rw"]


async def test_a_name_can_be_used_once(started: Files) -> None:
    with pytest.raises(AlreadyExists):
        await started.make(T)
    assert await started.list("branch/master/transactions") == ["t"]


async def test_a_file_cannot_be_made_among_transactions(started: Files) -> None:
    with pytest.raises(NotPermitted, match="Can only contain directories"):
        await started.make("branch/master/transactions/file", Kind.FILE)


async def test_a_transaction_cannot_be_removed_or_renamed(started: Files) -> None:
    node = await started.node(T)
    with pytest.raises(NotPermitted):
        await value_of(node.remove())
    with pytest.raises(NotPermitted):
        await value_of(node.rename("other"))


async def test_origin_is_empty(started: Files) -> None:
    with pytest.raises(InvalidArgument, match=r"Offset 100 beyond end-of-file \(len = 0\)"):
        await value_of((await started.open(f"{T}/origin")).read(100, 1))


async def test_committing_makes_a_commit_of_rw_msg_and_parents(
    started: Files, store: Store
) -> None:
    other = await commit(store, "other", "file", b"")
    await started.write(f"{T}/rw/file", b"content")
    await started.write(f"{T}/msg", b"Say why\n\nAt length")
    await started.write(f"{T}/parents", f"\n{other}\n".encode())
    result = await started.command(f"{T}/ctl", "commit\n")
    head = store.head("master")
    assert head is not None
    assert result == f"{head}\n".encode()
    assert store.commit(head).message == "Say why\n\nAt length"
    assert store.commit(head).parents == (other,)
    assert await started.read("branch/master/ro/file") == b"content"


async def test_creating_a_file_that_is_there_empties_it(started: Files) -> None:
    await started.write(f"{T}/msg", b"message")
    await started.make(f"{T}/msg", Kind.FILE)
    assert await started.read(f"{T}/msg") == b""
    await started.make(f"{T}/ctl", Kind.EXECUTABLE)
    for name, kind in (
        ("origin", Kind.FILE), ("rw", Kind.FILE), ("new", Kind.FILE), ("msg", Kind.DIRECTORY)
    ):  # fmt: skip
        with pytest.raises(ReadOnly):
            await started.make(f"{T}/{name}", kind)


async def test_an_empty_message_is_replaced(started: Files, store: Store) -> None:
    await started.command(f"{T}/ctl", "commit")
    head = store.head("master")
    assert head is not None
    assert store.commit(head).message == "(no commit message)"


async def test_the_directory_goes_with_the_commit_and_open_files_stay(started: Files) -> None:
    await started.write(f"{T}/rw/file", b"content")
    message = await started.open(f"{T}/msg")
    directory = await started.directory(f"{T}/rw")
    file = await started.open(f"{T}/rw/file")
    await started.command(f"{T}/ctl", "commit")
    assert await started.list("branch/master/transactions") == []
    with pytest.raises(NoEntry):
        await started.node(T)
    assert await value_of(message.read(0, 10)) == b""
    assert await value_of(file.read(0, 10)) == b"content"
    assert await Files(directory).list() == ["file"]
    for change in (
        lambda: file.write(0, b"x"),
        lambda: directory.create("new", Kind.FILE),
    ):
        with pytest.raises(ReadOnly, match="start another one"):
            await value_of(change())


async def test_closing_forgets_the_edits(started: Files, store: Store) -> None:
    await started.write(f"{T}/rw/file", b"content")
    control = await started.open(f"{T}/ctl")
    await value_of(control.write(0, b"close"))
    assert await started.list("branch/master/transactions") == []
    assert store.heads() == {}
    with pytest.raises(ReadOnly):
        await value_of(control.write(5, b"commit"))


async def test_an_unknown_command_is_refused(started: Files) -> None:
    for command in ("", "comitt", "commit now", "close it", "commit-if", "graft"):
        with pytest.raises(InvalidArgument, match=f'^Unknown command "{command}"$'):
            await started.command(f"{T}/ctl", command)


@pytest.mark.parametrize(
    ("parents", "error"), [("nonsense", InvalidHash), ("1" * 40, UnknownObject)]
)
async def test_bad_parents_are_noticed_by_the_commit(
    started: Files, store: Store, parents: str, error: type[Exception]
) -> None:
    await started.write(f"{T}/parents", parents.encode())
    with pytest.raises(error):
        await started.command(f"{T}/ctl", "commit")
    await started.write(f"{T}/parents", b"")
    await started.command(f"{T}/ctl", "commit")
    assert store.head("master") is not None


async def test_parents_start_as_the_head(files: Files, store: Store) -> None:
    head = await commit(store, "master", "file", b"")
    await files.make(T)
    assert await files.read(f"{T}/parents") == f"{head}\n".encode()


async def test_a_conflicting_commit_fails_and_leaves_the_transaction(
    files: Files, store: Store
) -> None:
    await commit(store, "master", "file", b"base")
    await files.make(T)
    await files.write(f"{T}/rw/file", b"ours")
    theirs = await commit(store, "master", "file", b"theirs")
    with pytest.raises(MergeConflict, match="Merge conflict: file"):
        await files.command(f"{T}/ctl", "commit")
    assert store.head("master") == theirs
    assert await files.read(f"{T}/rw/file") == b"ours"
    await files.write(f"{T}/rw/file", b"theirs")
    await files.command(f"{T}/ctl", "commit")


async def test_commit_if_never_merges(files: Files, store: Store) -> None:
    base = await commit(store, "master", "file", b"base")
    await files.make(T)
    await files.write(f"{T}/rw/new", b"ours")
    await commit(store, "master", "other", b"theirs")
    with pytest.raises(NotFastForward):
        await files.command(f"{T}/ctl", f"commit-if {base}")
    with pytest.raises(NotFastForward):
        await files.command(f"{T}/ctl", "commit-if none")
    with pytest.raises(InvalidHash):
        await files.command(f"{T}/ctl", "commit-if master")
    assert await files.list("branch/master/transactions") == ["t"]


async def test_commit_if_says_which_commit_it_made(started: Files, store: Store) -> None:
    result = await started.command(f"{T}/ctl", "commit-if none")
    assert result == f"{store.head('master')}\n".encode()


async def test_graft_puts_an_existing_object_into_the_tree(started: Files, store: Store) -> None:
    await commit(store, "other", "dir/file", b"content")
    tree = (await started.read("branch/other/watch/dir.node/tree.live")).decode().strip()
    await started.command(f"{T}/ctl", f"graft {tree} a/copy of it")
    assert await started.read(f"{T}/rw/a/copy of it/file") == b"content"
    await started.command(f"{T}/ctl", f"graft {tree}")
    assert await started.list(f"{T}/rw") == ["file"]
    for entry in ("F" + tree[1:], f"D-{'1' * 40}"):
        with pytest.raises(UnknownObject):
            await started.command(f"{T}/ctl", f"graft {entry} there")
    with pytest.raises(InvalidArgument, match="Q-1"):
        await started.command(f"{T}/ctl", "graft Q-1 there")
    with pytest.raises(InvalidHash):
        await started.command(f"{T}/ctl", "graft D-1 there")


async def test_the_tree_can_be_stored_without_a_commit(started: Files, store: Store) -> None:
    await started.write(f"{T}/rw/file", b"content")
    tree = (await started.command(f"{T}/ctl", "tree")).decode().strip()
    assert await started.read(f"trees/{tree}/file") == b"content"
    assert store.head("master") is None


async def test_a_diff_follows_the_edits(files: Files, store: Store) -> None:
    base = await commit(store, "master", "dir/file", b"base")
    await files.make(T)
    diff = f"{T}/diff/{base}"
    assert await files.read(diff) == b""
    await files.write(f"{T}/rw/dir/file", b"changed")
    await files.write(f"{T}/rw/new", b"new")
    assert await files.read(diff) == b"* dir/file\n+ new\n"
    assert (await files.stat(diff)).length == len(b"* dir/file\n+ new\n")
    await files.write(f"{T}/rw/dir/file", b"base")
    await files.remove(f"{T}/rw/new")
    assert await files.read(diff) == b""
    await files.remove(f"{T}/rw/dir")
    assert await files.read(diff) == b"- dir/file\n"


async def test_a_diff_from_an_unknown_commit_is_absent(started: Files) -> None:
    assert await started.list(f"{T}/diff") == []
    with pytest.raises(UnknownObject):
        await started.node(f"{T}/diff/{'1' * 40}")
    with pytest.raises(InvalidHash):
        await started.node(f"{T}/diff/master")


async def test_a_connection_can_have_only_so_many_transactions(store: Store) -> None:
    files = Files(DatabaseFiles(store, Limits(transactions=2)).connect())
    for branch in ("one", "two"):
        await files.make(f"branch/{branch}")
        await files.make(f"branch/{branch}/transactions/t")
    with pytest.raises(TooMany, match="commit or close some of them"):
        await files.make("branch/one/transactions/u")
    await files.command("branch/two/transactions/t/ctl", "close")
    await files.make("branch/one/transactions/u")


async def test_a_connection_that_ends_closes_its_transactions(store: Store) -> None:
    root = DatabaseFiles(store).connect()
    files = Files(root)
    await files.make("branch/master")
    await files.make(T)
    control = await files.open(f"{T}/ctl")
    root.close()
    with pytest.raises(ReadOnly):
        await value_of(control.write(0, b"commit"))
    assert store.head("master") is None


async def test_the_same_name_may_be_used_again_and_is_another_object(started: Files) -> None:
    before = (await started.stat(T)).inode
    await started.command(f"{T}/ctl", "close")
    await started.make(T)
    assert (await started.stat(T)).inode != before


async def test_a_stored_file_is_read_as_one_and_a_changed_one_as_it_is_now(
    files: Files, store: Store
) -> None:
    await commit(store, "master", "file", b"stored")
    await files.make(T)
    handle = await files.open(f"{T}/rw/file")
    assert await value_of(handle.read(2, 100)) == b"ored"
    await value_of(handle.write(0, b"ST"))
    assert await value_of(handle.read(0, 100)) == b"STored"
    with pytest.raises(InvalidArgument, match=r"Offset 7 beyond end-of-file \(len = 6\)"):
        await value_of(handle.read(7, 1))


class TestMerge:
    """The command file ``merge``."""

    @pytest.fixture
    async def sides(self, files: Files, store: Store) -> tuple[Files, CommitId]:
        await commit(store, "master", "both", b"base")
        await files.make("branch/side")
        head = store.head("master")
        await files.command("branch/side/fast-forward", str(head))
        theirs = await commit(store, "side", "theirs", b"theirs")
        await commit(store, "master", "ours", b"ours")
        await files.make(T)
        return files, theirs

    async def test_shows_the_three_trees_and_their_merge(
        self, sides: tuple[Files, CommitId], store: Store
    ) -> None:
        files, theirs = sides
        ours = store.head("master")
        assert await files.command(f"{T}/merge", theirs) == b"ok"
        assert await files.list(T) == [
            *("base", "conflicts", "ctl", "diff", "merge", "msg", "origin"),
            *("ours", "parents", "rw", "theirs"),
        ]
        assert await files.list(f"{T}/base") == ["both"]
        assert await files.list(f"{T}/ours") == ["both", "ours"]
        assert await files.list(f"{T}/theirs") == ["both", "theirs"]
        assert await files.list(f"{T}/rw") == ["both", "ours", "theirs"]
        assert await files.read(f"{T}/conflicts") == b""
        await files.command(f"{T}/ctl", "commit")
        head = store.head("master")
        assert head is not None
        assert set(store.commit(head).parents) == {ours, theirs}

    async def test_conflicts_must_be_resolved_first(
        self, sides: tuple[Files, CommitId], store: Store
    ) -> None:
        files, theirs = sides
        await files.make(f"{T}/rw/dir")
        for path in ("both", "dir/a", "dir/b", "late"):
            theirs = await commit(store, "side", path, b"theirs")
            await files.write(f"{T}/rw/{path}", b"ours")
        await files.command(f"{T}/merge", theirs)
        assert await files.read(f"{T}/conflicts") == b"both\ndir/a\ndir/b\nlate\n"
        assert (await files.read(f"{T}/rw/both")) == b"** Conflict **\nChanged on both branches\n"
        for command in ("ctl", "merge"):
            with pytest.raises(InvalidArgument, match=r"^conflicts file is not empty$"):
                await files.command(f"{T}/{command}", "commit")
        await files.write(f"{T}/rw/both", b"resolved")
        assert await files.read(f"{T}/conflicts") == b"dir/a\ndir/b\nlate\n"
        await files.remove(f"{T}/rw/dir")
        assert await files.read(f"{T}/conflicts") == b"late\n"
        late = await files.node(f"{T}/rw/late")
        await value_of(late.chmod(Kind.EXECUTABLE))
        assert await files.read(f"{T}/conflicts") == b"late\n"
        await value_of(late.remove())
        assert await files.read(f"{T}/conflicts") == b""
        await files.command(f"{T}/ctl", "commit")
        assert await files.read("branch/master/ro/both") == b"resolved"

    async def test_can_be_repeated(self, sides: tuple[Files, CommitId], store: Store) -> None:
        files, theirs = sides
        third = await commit(store, "third", "third", b"third")
        await files.write(f"{T}/parents", (await files.read(f"{T}/parents")).rstrip())
        await files.command(f"{T}/merge", theirs)
        await files.command(f"{T}/merge", third)
        assert await files.list(f"{T}/rw") == ["both", "ours", "theirs", "third"]
        assert (await files.read(f"{T}/parents")).decode().split()[1:] == [theirs, third]
        assert await files.list(f"{T}/base") == []

    async def test_refuses_what_is_no_commit(self, sides: tuple[Files, CommitId]) -> None:
        files, _ = sides
        with pytest.raises(InvalidHash):
            await files.command(f"{T}/merge", "side")
        with pytest.raises(UnknownObject):
            await files.command(f"{T}/merge", ObjectId("1" * 40))
        assert "conflicts" not in await files.list(T)
