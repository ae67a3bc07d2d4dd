"""Streams: heads, paths, and the log of heads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from datakit_core.dbfs import DatabaseFiles, watch
from datakit_core.errors import NoEntry, TooMany
from datakit_core.store import EMPTY_TREE, CommitId, FileMode, Store
from datakit_core.vfs import Deferred, Handle
from tests.support.files import Files, value_of
from tests.support.writers import BatchWriter


class Reader:
    """Reads one line after the other from a stream, as a client does."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._offset = 0

    async def line(self) -> bytes:
        """The next line, which must be there, and the empty read behind it."""
        answer = self._handle.read(self._offset, 4096)
        assert not isinstance(answer, Deferred), "there is nothing to read"
        data = await value_of(answer)
        self._offset += len(data)
        assert self._handle.read(self._offset, 4096) == b""
        return data

    def blocked(self) -> Deferred[bytes]:
        """A read that has to wait."""
        answer = self._handle.read(self._offset, 4096)
        assert isinstance(answer, Deferred)
        return answer


async def commit(
    store: Store, path: str, content: bytes, mode: FileMode = FileMode.NORMAL
) -> CommitId:
    transaction = store.transaction("master")
    transaction.tree.put(path, content, mode)
    return await transaction.commit()


async def opened(files: Files, path: str) -> Reader:
    await files.make("branch/master")
    return Reader(await files.open(f"branch/master/{path}"))


async def test_head_live_starts_with_the_head_and_waits(files: Files, store: Store) -> None:
    stream = await opened(files, "head.live")
    assert await stream.line() == b"\n"
    waiting = stream.blocked()
    head = await commit(store, "file", b"1")
    assert waiting.result() == f"{head}\n".encode()


async def test_head_live_tells_the_newest_head(files: Files, store: Store) -> None:
    stream = await opened(files, "head.live")
    await stream.line()
    await commit(store, "file", b"1")
    head = await commit(store, "file", b"2")
    assert await stream.line() == f"{head}\n".encode()
    stream.blocked()


async def test_reflog_skips_nothing_and_starts_with_nothing(files: Files, store: Store) -> None:
    stream = await opened(files, "reflog")
    first = await commit(store, "file", b"1")
    second = await commit(store, "file", b"2")
    await files.remove("branch/master")
    for expected in (first, second, ""):
        assert await stream.line() == f"{expected}\n".encode()
    waiting = stream.blocked()
    third = await commit(store, "file", b"3")
    assert waiting.result() == f"{third}\n".encode()


async def test_reflog_shows_heads_that_were_written_in_one_batch(tmp_path: Path) -> None:
    writers: list[BatchWriter] = []

    def make(path: Path) -> BatchWriter:
        writers.append(BatchWriter(path))
        return writers[-1]

    async with Store.open(tmp_path / "batches.git", create=True, writer=make) as store:
        stream = await opened(Files(DatabaseFiles(store).connect()), "reflog")
        first = await store.create_commit(EMPTY_TREE, [], "First")
        second = await store.create_commit(EMPTY_TREE, [first], "Second")
        for writer in writers:
            writer.size = 2
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.update_head("master", None, first))
            tasks.create_task(store.update_head("master", first, second))
        for expected in (first, second):
            assert await stream.line() == f"{expected}\n".encode()


async def test_a_reader_of_reflog_that_is_too_far_behind_is_told(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_REFLOG_BACKLOG", 2)
    await files.make("branch/master")
    handle = await files.open("branch/master/reflog")
    for content in (b"1", b"2", b"3"):
        await commit(store, "file", content)
    with pytest.raises(TooMany, match="open the file again"):
        handle.read(0, 100)


async def test_the_root_of_an_empty_branch_is_the_empty_tree(files: Files) -> None:
    stream = await opened(files, "watch/tree.live")
    assert await stream.line() == f"D-{EMPTY_TREE}\n".encode()


async def test_a_path_is_followed_from_absent_to_absent(files: Files, store: Store) -> None:
    stream = await opened(files, "watch/src.node/Makefile.node/tree.live")
    assert await stream.line() == b"\n"
    blob = "d81e367f87ee314bcd3e449b1c6641efda5bc269"
    for mode, letter in (
        (FileMode.NORMAL, "F"), (FileMode.EXECUTABLE, "X"), (FileMode.LINK, "L"),
    ):  # fmt: skip
        await commit(store, "src/Makefile", b"all: build", mode)
        assert await stream.line() == f"{letter}-{blob}\n".encode()
    await files.remove("branch/master")
    assert await stream.line() == b"\n"


async def test_a_change_elsewhere_is_not_told(files: Files, store: Store) -> None:
    stream = await opened(files, "watch/src.node/tree.live")
    await commit(store, "src/Makefile", b"all: build")
    await stream.line()
    waiting = stream.blocked()
    await commit(store, "doc/README", b"Instructions")
    assert not waiting.done


async def test_a_blocked_read_reports_the_first_of_two_commits(files: Files, store: Store) -> None:
    stream = await opened(files, "watch/tree.live")
    await stream.line()
    waiting = stream.blocked()
    await commit(store, "src/Makefile", b"all: build")
    await commit(store, "doc/README", b"Instructions")
    assert waiting.result() == b"D-acaa8ac97706d94e012da475e8a63d647011a72c\n"


async def test_a_closed_stream_leaves_nothing_behind(files: Files, store: Store) -> None:
    await files.make("branch/master")
    for name in ("head.live", "reflog", "watch/tree.live"):
        handle = await files.open(f"branch/master/{name}")
        if name != "reflog":
            await value_of(handle.read(0, 100))
        handle.close()
    await commit(store, "file", b"1")
    assert not store._watches._by_head
    assert not store._watches._by_path


async def test_watch_lists_a_directory_for_each_child(files: Files, store: Store) -> None:
    await commit(store, "src/Makefile", b"all: build")
    await commit(store, "doc/README", b"Instructions")
    assert await files.list("branch/master/watch") == ["tree.live", "doc.node", "src.node"]
    assert await files.list("branch/master/watch/src.node/Makefile.node") == ["tree.live"]
    assert await files.list("branch/master/watch/absent.node/x.node") == ["tree.live"]


async def test_other_names_below_watch_are_absent(files: Files) -> None:
    await files.make("branch/master")
    for name in ("src", ".node", "..node", "...node", "a/b.node"):
        with pytest.raises(NoEntry):
            await files.node(["branch", "master", "watch", name])


async def test_watching_ends_at_the_depth_of_trees(files: Files) -> None:
    await files.make("branch/master")
    await files.node(["branch", "master", "watch", *["a.node"] * 256, "tree.live"])
    with pytest.raises(NoEntry):
        await files.node(["branch", "master", "watch", *["a.node"] * 257])
