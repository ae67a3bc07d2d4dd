"""The store beside real Git: what one writes the other reads, and what one moves the other sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.errors import HeadMoved, InvalidName, UnknownObject
from datakit_core.store import CommitId, Entry, FileMode, ObjectId, Store, open_reader
from tests.support.commits import commit
from tests.support.databases import open_store
from tests.support.git import commit_file, git


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "store.git") as store:
        yield store


class Told:
    """Collects what a subscription says, and waits for a value."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self._changed = asyncio.Event()

    def __call__(self, value: object) -> None:
        self.values.append(value)
        self._changed.set()

    async def until(self, value: object) -> None:
        while not self.values or self.values[-1] != value:
            self._changed.clear()
            await self._changed.wait()


async def test_what_the_store_writes_is_sound_and_readable_by_git(store: Store) -> None:
    base = await commit(store, "main", src__main=b"1", readme=b"x")
    side = store.transaction("main")
    side.tree.put("run", b"#!/bin/sh\n", FileMode.EXECUTABLE)
    side.tree.put("link", b"src/main", FileMode.LINK)
    side.message = "Add run"
    await commit(store, "main", src__main=b"2")
    head = await side.commit()
    git(store.path, "fsck", "--full", "--strict")
    assert git(store.path, "rev-parse", "main") == head
    assert git(store.path, "log", "--format=%s", "--first-parent", "main").splitlines() == [
        "Add run",
        "change src__main",
        "change src__main, readme",
    ]
    assert git(store.path, "log", "-1", "--format=%an <%ae> %B", "main") == (
        "datakit <datakit@mobyproject.org> Add run"
    )
    assert git(store.path, "merge-base", "main", base) == base
    listed = git(store.path, "ls-tree", "-r", "--format=%(objectmode) %(path)", "main")
    assert listed.splitlines() == [
        "120000 link", "100644 readme", "100755 run", "100644 src/main",
    ]  # fmt: skip


async def test_a_clone_is_complete_and_can_be_pushed_back(store: Store, tmp_path: Path) -> None:
    await commit(store, "main", a=b"1")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", store.path, clone)
    assert (clone / "a").read_bytes() == b"1"
    pushed = commit_file(clone, "b", b"2")
    told = Told()
    store.subscribe_head("main", told)
    git(clone, "push", "-q", "origin", "main")
    await told.until(pushed)
    assert store.head("main") == pushed
    assert store.entry(store.commit(CommitId(ObjectId(pushed))).tree, "b") is not None


async def test_every_way_of_moving_a_ref_is_noticed(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    second = await commit(store, "main", a=b"2")
    heads, paths, names = Told(), Told(), Told()
    store.subscribe_head("side/x", heads)
    store.subscribe_path("side/x", "a", paths)
    store.subscribe_branches(names)
    git(store.path, "update-ref", "refs/heads/side/x", first)
    await heads.until(first)
    assert names.values == [frozenset({"side/x"})]
    assert paths.values == [store.entry(store.commit(first).tree, "a")]
    git(store.path, "branch", "-f", "side/x", second)
    await heads.until(second)
    git(store.path, "pack-refs", "--all", "--prune")
    git(store.path, "update-ref", "refs/heads/side/x", first)
    await heads.until(first)
    git(store.path, "pack-refs", "--all", "--prune")
    git(store.path, "branch", "-D", "side/x")
    await heads.until(None)
    await paths.until(None)
    git(store.path, "branch", "side/x", second)
    await heads.until(second)
    assert dict(store.heads()) == {"main": second, "side/x": second}


async def test_a_rewritten_packed_refs_is_noticed(store: Store) -> None:
    head = await commit(store, "main", a=b"1")
    told = Told()
    store.subscribe_head("only-packed", told)
    new = store.path / "packed-refs.new"
    new.write_text(f"# pack-refs with: peeled fully-peeled sorted\n{head} refs/heads/only-packed\n")
    new.rename(store.path / "packed-refs")
    await told.until(head)
    assert store.head("only-packed") == head


async def test_refs_of_before_are_there_when_the_store_opens(tmp_path: Path) -> None:
    source = tmp_path / "source"
    head = commit_file(source, "a", b"1")
    git(tmp_path, "clone", "-q", "--bare", source, tmp_path / "bare.git")
    git(tmp_path / "bare.git", "update-ref", "refs/heads/x/y", head)
    async with open_store(tmp_path / "bare.git") as store:
        assert dict(store.heads()) == {"main": head, "x/y": head}
        assert git(store.path, "config", "gc.auto") == "0"


async def test_odd_refs_hide_only_themselves(store: Store, tmp_path: Path) -> None:
    head = await commit(store, "main", a=b"1")
    blob = store.entry(store.commit(head).tree, "a")
    assert blob is not None
    git(store.path, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    (store.path / "refs" / "heads" / "blob").write_text(f"{blob.id}\n")
    (store.path / "refs" / "heads" / "gone").write_text(f"{'1' * 40}\n")
    (store.path / "refs" / "heads" / "damaged").write_text("nonsense")
    assert [store.head(name) for name in ("alias", "blob", "gone", "damaged")] == [None] * 4
    with pytest.raises(InvalidName, match="symbolic ref"):
        await commit(store, "alias", a=b"2")
    with pytest.raises(HeadMoved):
        await store.update_head("blob", None, head)
    told = Told()
    store.subscribe_head("last", told)
    git(store.path, "update-ref", "refs/heads/last", head)
    await told.until(head)
    assert dict(store.heads()) == {"main": head, "last": head}


async def test_a_ref_moved_by_git_is_never_overwritten(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    outside = await store.create_commit(store.commit(first).tree, [first], "outside")
    transaction = store.transaction("main")
    transaction.tree.put("b", b"mine")
    git(store.path, "update-ref", "refs/heads/main", outside, first)
    with pytest.raises(HeadMoved) as caught:
        await store.update_head("main", first, first)
    assert caught.value.found == outside
    merged = store.commit(await transaction.commit())
    assert merged.parents[0] == outside
    git(store.path, "merge-base", "--is-ancestor", outside, "main")


async def test_moves_by_git_and_by_many_transactions_lose_nothing(store: Store) -> None:
    await commit(store, "main", a=b"0")

    async def by_transaction(name: str) -> None:
        transaction = store.transaction("main")
        transaction.tree.put(name, b"x")
        await transaction.commit()

    async def by_git(name: str) -> None:
        """A ref update with its own compare-and-swap, as git push makes it; until it succeeds."""
        while True:
            head = store.head("main")
            assert head is not None
            overlay = store.overlay(store.commit(head).tree)
            overlay.put(name, b"x")
            tree, objects = overlay.freeze()
            new = await store.create_commit(tree, [head], name, objects=objects)
            process = await asyncio.create_subprocess_exec(
                "git", "-C", store.path, "update-ref", "refs/heads/main", new, head,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            if await process.wait() == 0:
                return

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(by_transaction(f"ours{number}"))
            if number % 3 == 0:
                tasks.create_task(by_git(f"git{number}"))
    head = store.head("main")
    assert head is not None
    expected = {"a", *(f"ours{n}" for n in range(10)), "git0", "git3", "git6", "git9"}
    assert set(store.tree(store.commit(head).tree)) == expected


async def test_a_branch_cannot_be_a_directory_of_branches(store: Store) -> None:
    await commit(store, "x/y", a=b"1")
    with pytest.raises(InvalidName, match="x"):
        await commit(store, "x", a=b"1")
    with pytest.raises(InvalidName, match="x/y"):
        await commit(store, "x/y/z", a=b"1")
    git(store.path, "pack-refs", "--all", "--prune")
    with pytest.raises(InvalidName):
        await commit(store, "x", a=b"1")
    await store.remove_branch("x/y")
    await commit(store, "x", a=b"1")


async def test_reflogs_are_kept_where_they_are_wanted(store: Store) -> None:
    git(store.path, "config", "core.logAllRefUpdates", "always")
    await commit(store, "main", a=b"1")
    head = await commit(store, "main", a=b"2")
    log = git(store.path, "reflog", "show", "--format=%H %gn", "main").splitlines()
    assert len(log) == 2
    assert log[0] == f"{head} datakit"


async def test_a_renamed_branch_keeps_its_head(store: Store) -> None:
    head = await commit(store, "old", a=b"1")
    names = Told()
    store.subscribe_branches(names)
    await store.rename_branch("old", "new/name")
    assert dict(store.heads()) == {"new/name": head}
    assert names.values[0] == frozenset({"old", "new/name"})
    assert git(store.path, "for-each-ref", "--format=%(refname)") == "refs/heads/new/name"


async def test_a_reader_follows_the_store_without_its_lock(store: Store) -> None:
    reader = open_reader(store.path)
    head = await commit(store, "main", d__a=b"1")
    entry = reader.entry(reader.commit(head).tree, "d/a")
    assert entry == Entry(FileMode.NORMAL, entry.id) if entry else False
    git(store.path, "gc", "-q", "--prune=now")
    later = await commit(store, "main", d__a=b"2")
    assert reader.commit(later).parents == (head,)
    with pytest.raises(UnknownObject):
        reader.commit(CommitId(entry.id if entry else later))
    reader.close()


async def test_git_gc_beside_an_open_transaction_takes_nothing_from_it(store: Store) -> None:
    await commit(store, "main", a=b"1", d__b=b"2")
    transaction = store.transaction("main")
    transaction.tree.put("d/c", b"3")
    transaction.tree.freeze()
    git(store.path, "gc", "-q", "--prune=now")
    head = await transaction.commit()
    git(store.path, "fsck", "--full")
    assert git(store.path, "show", f"{head}:d/c") == "3"
