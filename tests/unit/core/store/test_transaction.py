"""Transactions: how edits become a commit of a branch that others commit to as well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from datakit_core.errors import (
    Busy,
    HeadMoved,
    InvalidArgument,
    InvalidHash,
    InvalidName,
    MergeConflict,
    NotFastForward,
    UnknownObject,
)
from datakit_core.store import EMPTY_TREE, CommitId, InlineWriter, Store
from datakit_core.store.requests import Request, Value
from tests.support.commits import commit, files_of


async def test_parents_are_checked_when_committing_and_not_before(store: Store) -> None:
    head = await commit(store, "main", a=b"1")
    blob = store.entry(store.commit(head).tree, "a")
    assert blob is not None
    transaction = store.transaction("main")
    transaction.tree.put("a", b"2")
    for text, error in (
        ("nonsense", InvalidHash),
        (head[:10], InvalidHash),
        (head.upper(), InvalidHash),
        ("1" * 64, InvalidHash),
        ("1" * 40, UnknownObject),
        (blob.id, UnknownObject),
        (store.commit(head).tree, UnknownObject),
        ("\n".join([head[:39] + d for d in "0123456789abcdef"] * 20), InvalidArgument),
    ):
        transaction.parents = text
        with pytest.raises(error):
            await transaction.commit()
        assert not transaction.closed
    transaction.parents = f"\n  {head} \n\n{head}\n"
    assert store.commit(await transaction.commit()).parents == (head,)


async def test_a_commit_may_have_parents_from_elsewhere(store: Store) -> None:
    other = await commit(store, "other", b=b"1")
    transaction = store.transaction("dev")
    transaction.tree.put("a", b"1")
    transaction.parents = f"{other}\n"
    head = await transaction.commit()
    assert store.commit(head).parents == (other,)
    assert files_of(store, head) == {"a": b"1"}


async def test_an_outer_transaction_lands_as_a_merge_after_an_inner_one(store: Store) -> None:
    base = await commit(store, "main", a=b"1")
    extra = await commit(store, "other", x=b"1")
    outer = store.transaction("main")
    outer.tree.put("outer", b"1")
    outer.parents = f"{base}\n{extra}\n"
    inner = await commit(store, "main", inner=b"1")
    head = store.commit(await outer.commit())
    assert head.parents[0] == inner
    assert store.commit(head.parents[1]).parents == (base, extra)
    assert files_of(store, head.id) == {"a": b"1", "inner": b"1", "outer": b"1"}


async def test_histories_without_a_common_ancestor_are_merged(store: Store) -> None:
    ours = await commit(store, "main", a=b"1")
    transaction = store.transaction("main")
    transaction.parents = ""
    transaction.tree.remove("a")
    transaction.tree.put("b", b"2")
    head = store.commit(await transaction.commit())
    assert head.parents[0] == ours
    assert files_of(store, head.id) == {"a": b"1", "b": b"2"}
    transaction = store.transaction("main")
    transaction.parents = ""
    transaction.tree.put("a", b"other")
    with pytest.raises(MergeConflict):
        await transaction.commit()


async def test_a_parent_far_behind_is_still_the_base(store: Store) -> None:
    await commit(store, "main", a=b"1", b=b"1")
    transaction = store.transaction("main")
    transaction.tree.put("b", b"2")
    for number in range(70):
        await commit(store, "main", a=b"%d" % number)
    head = await transaction.commit()
    assert files_of(store, head) == {"a": b"69", "b": b"2"}


async def test_a_commit_that_has_the_head_behind_it_is_a_fast_forward(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    await store.update_head("side", None, first)
    second = await commit(store, "side", a=b"2")
    transaction = store.transaction("main")
    transaction.parents = f"{second}\n"
    transaction.tree.put("b", b"1")
    head = await transaction.commit()
    assert store.commit(head).parents == (second,)


async def test_an_empty_commit_has_the_tree_of_its_parent(store: Store) -> None:
    empty = await store.transaction("main").commit()
    assert store.commit(empty).tree == EMPTY_TREE
    assert store.commit(empty).message == "(no commit message)"
    first = await commit(store, "main", a=b"1")
    again = await store.transaction("main").commit()
    assert store.commit(again).tree == store.commit(first).tree
    assert store.commit(again).parents == (first,)


async def test_the_same_commit_twice_is_one(store: Store) -> None:
    transactions = [store.transaction("main") for _ in range(2)]
    for transaction in transactions:
        transaction.tree.put("a", b"1")
    heads = {await transaction.commit() for transaction in transactions}
    commits = {store.commit(head).id for head in heads}
    assert len(commits) in (1, 2)  # two only if a second has passed between them
    head = store.head("main")
    assert head is not None
    assert files_of(store, head) == {"a": b"1"}


async def test_commit_times_never_decrease(tmp_path: Path) -> None:
    times = iter([1000.9, 500.0, 1001.0])
    async with Store.open(
        tmp_path / "a.git", create=True, writer=InlineWriter, clock=lambda: next(times)
    ) as store:
        heads = [await commit(store, f"branch{n}", a=b"1") for n in range(3)]
        assert [store.commit(head).committer.time for head in heads] == [1000, 1000, 1001]
    async with Store.open(tmp_path / "a.git", writer=InlineWriter, clock=lambda: 10.0) as store:
        later = await commit(store, "branch2", a=b"2")
        assert store.commit(later).committer.time == 1001
        assert store.commit(await commit(store, "new", a=b"2")).author.time == 10


async def test_commit_if_refuses_a_commit_that_does_not_descend_from_the_head(
    store: Store,
) -> None:
    head = await commit(store, "main", a=b"1")
    transaction = store.transaction("main")
    transaction.parents = ""
    with pytest.raises(NotFastForward):
        await transaction.commit_if(head)
    assert not transaction.closed
    transaction.parents = f"{head}\n"
    assert await transaction.commit_if(head) == store.head("main")


async def test_commit_if_accepts_a_head_further_behind(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    await store.update_head("side", None, first)
    second = await commit(store, "side", a=b"2")
    transaction = store.transaction("main")
    transaction.parents = f"{second}\n"
    head = await transaction.commit_if(first)
    assert store.commit(head).parents == (second,)


async def test_a_closed_transaction_cannot_be_committed(store: Store) -> None:
    transaction = store.transaction("main")
    transaction.close()
    with pytest.raises(InvalidArgument, match="closed"):
        await transaction.commit()
    transaction = store.transaction("main")
    await transaction.commit()
    assert transaction.closed
    with pytest.raises(InvalidArgument, match="closed"):
        await transaction.commit_if(None)


async def test_a_transaction_needs_a_branch_name(store: Store) -> None:
    with pytest.raises(InvalidName):
        store.transaction("../../config")


class GatedWriter(InlineWriter):
    """Carries requests out only when told to.

    Attributes:
        open: Requests go through while this is set.
        waiting: How many requests have come so far.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self._turn = asyncio.Lock()

    async def submit(self, request: Request) -> Value:
        self.waiting += 1
        async with self._turn:
            await self.open.wait()
            return await super().submit(request)


async def test_edits_made_while_committing_are_not_half_included(tmp_path: Path) -> None:
    writer = GatedWriter(tmp_path / "a.git")
    async with (
        Store.open(tmp_path / "a.git", create=True, writer=lambda _: writer) as store,
        asyncio.TaskGroup() as tasks,
    ):
        transaction = store.transaction("main")
        transaction.tree.put("a", b"1")
        writer.open.clear()
        task = tasks.create_task(transaction.commit())
        await asyncio.sleep(0)
        transaction.tree.put("b", b"late")
        with pytest.raises(Busy):
            await transaction.commit()
        writer.open.set()
        assert files_of(store, await task) == {"a": b"1"}


async def test_commits_under_way_build_on_one_another(tmp_path: Path) -> None:
    writer = GatedWriter(tmp_path / "a.git")
    async with Store.open(tmp_path / "a.git", create=True, writer=lambda _: writer) as store:
        base = await commit(store, "main", a=b"1")
        writer.open.clear()
        writer.waiting = 0
        async with asyncio.TaskGroup() as tasks:
            landing = [
                tasks.create_task(commit(store, "main", **{f"f{n}": b"1"})) for n in range(5)
            ]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert writer.waiting == 5
            assert store.head("main") == base
            assert dict(store.heads()) == {"main": base}
            writer.open.set()
        assert writer.waiting == 5  # nobody had to try again
        head = store.head("main")
        assert head == landing[-1].result()
        assert head is not None
        assert set(files_of(store, head)) == {"a", "f0", "f1", "f2", "f3", "f4"}


async def test_when_one_under_way_fails_the_others_begin_again(tmp_path: Path) -> None:
    writer = GatedWriter(tmp_path / "a.git")
    async with Store.open(tmp_path / "a.git", create=True, writer=lambda _: writer) as store:
        base = await commit(store, "main", a=b"1")
        elsewhere = await store.create_commit(store.commit(base).tree, [base], "from elsewhere")
        writer.open.clear()
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(commit(store, "main", **{f"f{number}": b"1"}))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            (store.path / "refs" / "heads" / "main").write_text(f"{elsewhere}\n")
            writer.open.set()
        head = store.head("main")
        assert head is not None
        assert set(files_of(store, head)) == {"a", "f0", "f1", "f2", "f3", "f4"}
        assert await store.is_ancestor(elsewhere, head)


async def test_a_conflict_with_a_commit_under_way_is_found(tmp_path: Path) -> None:
    writer = GatedWriter(tmp_path / "a.git")
    async with Store.open(tmp_path / "a.git", create=True, writer=lambda _: writer) as store:
        await commit(store, "main", a=b"1")
        late = store.transaction("main")
        late.tree.put("a", b"late")
        writer.open.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(commit(store, "main", a=b"early"))
            await asyncio.sleep(0)
            with pytest.raises(MergeConflict):
                await late.commit()
            writer.open.set()


async def test_a_head_that_is_elsewhere_is_reported_with_both(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    second = await commit(store, "main", a=b"2")
    with pytest.raises(HeadMoved) as caught:
        await store.update_head("main", first, None)
    assert (caught.value.branch, caught.value.expected, caught.value.found) == (
        "main", first, second,
    )  # fmt: skip
    with pytest.raises(HeadMoved):
        await store.update_head("main", None, first)
    with pytest.raises(UnknownObject):
        await store.update_head("main", second, CommitId(store.commit(first).tree))
    await store.update_head("main", second, first)
    assert store.head("main") == first
