"""A connection that is limited to some branches: what it sees, and what it cannot do."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from datakit_core.dbfs import Access, DatabaseFiles
from datakit_core.errors import NoEntry, NotPermitted, ReadOnly
from datakit_core.store import FOR_OTHERS, CommitId, Store
from tests.support.files import Files, value_of


async def commit(store: Store, branch: str) -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put("file", branch.encode())
    return await transaction.commit()


@pytest.fixture
def limited(database: DatabaseFiles) -> Iterator[Files]:
    root = database.connect(Access(("results/*", "main"), FOR_OTHERS))
    yield Files(root)
    root.close()


async def test_other_branches_are_absent(limited: Files, store: Store) -> None:
    for branch in ("main", "results/me/build", "secret", "mains"):
        await commit(store, branch)
    assert await limited.list("branch") == ["main", "results/me/build"]
    assert await limited.read(["branch", "results/me/build", "ro", "file"]) == b"results/me/build"
    heads = (await limited.read(".datakit/heads")).decode().splitlines()
    assert [line[41:] for line in heads] == ["main", "results/me/build"]
    for branch in ("secret", "absent"):
        with pytest.raises(NoEntry):
            await limited.node(["branch", branch])


async def test_other_branches_are_not_made(limited: Files, store: Store) -> None:
    await limited.make(["branch", "results/new"])
    await commit(store, "secret")
    for branch in ("secret", "absent"):
        with pytest.raises(NotPermitted, match=r"^Operation not permitted$"):
            await limited.make(["branch", branch])
        with pytest.raises(NotPermitted, match=r"^Operation not permitted$"):
            await value_of((await limited.node(["branch", "results/new"])).rename(branch))
    assert sorted(store.heads()) == ["secret"]


async def test_a_branch_that_was_renamed_by_others_is_out_of_sight(
    limited: Files, store: Store
) -> None:
    await commit(store, "main")
    node = await limited.node("branch/main")
    await store.rename_branch("main", "secret")
    with pytest.raises(NoEntry):
        await value_of(node.stat())


async def test_nothing_is_fetched_into_other_branches(limited: Files) -> None:
    await limited.make("remotes/origin")
    await limited.write("remotes/origin/url", b"https://127.0.0.1:1/none")
    with pytest.raises(NotPermitted, match=r"^Operation not permitted$"):
        await limited.command("remotes/origin/fetch", "secret")


async def test_what_is_fetched_follows_the_policy(limited: Files) -> None:
    await limited.make("remotes/origin")
    await limited.write("remotes/origin/url", b"file:///srv/private")
    with pytest.raises(
        NotPermitted, match=r"^error: cannot fetch file:///srv/private: .* --allow-fetch file:"
    ):
        await limited.command("remotes/origin/fetch", "main")


async def test_levels_of_the_log_are_shown_and_not_set(limited: Files) -> None:
    level = "debug/src/datakit_core.dbfs.test/level"
    logging.getLogger("datakit_core.dbfs.test").setLevel(logging.INFO)
    assert await limited.read(level) == b"info\n"
    with pytest.raises(ReadOnly, match=r"^Read-only file$"):
        await limited.write(level, b"debug\n")
    assert await limited.read(level) == b"info\n"


async def test_who_knows_an_id_can_read_what_it_names(limited: Files, store: Store) -> None:
    head = await commit(store, "secret")
    assert await limited.read(f"snapshots/{head}/ro/file") == b"secret"
