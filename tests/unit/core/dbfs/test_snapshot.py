"""Snapshots, commits, trees and raw objects: what never changes."""

from __future__ import annotations

import json

import pytest

from datakit_core.errors import InvalidHash, NoEntry, ReadOnly, UnknownObject
from datakit_core.store import EMPTY_TREE, CommitId, FileMode, Store
from datakit_core.vfs import Kind
from tests.support.files import Files, value_of


async def commit(store: Store, message: str, **contents: bytes) -> CommitId:
    transaction = store.transaction("master")
    transaction.message = message
    for name, content in contents.items():
        transaction.tree.put(name, content)
    return await transaction.commit()


async def test_a_snapshot_shows_its_commit(files: Files, store: Store) -> None:
    first = await commit(store, "First", foo=b"1")
    second = await commit(store, "Second", bar=b"2")
    snapshot = f"snapshots/{second}"
    assert await files.list(snapshot) == ["ro", "hash", "msg", "parents", "diff"]
    assert await files.read(f"{snapshot}/hash") == second.encode()
    assert await files.read(f"{snapshot}/msg") == b"Second\n"
    assert await files.read(f"{snapshot}/parents") == f"{first}\n".encode()
    assert await files.read(f"snapshots/{first}/parents") == b""
    assert await files.list(f"{snapshot}/ro") == ["bar", "foo"]
    assert await files.read(f"{snapshot}/ro/foo") == b"1"
    assert (await files.stat(f"{snapshot}/ro")).name == "ro"


async def test_a_snapshot_tells_what_differs_from_another(files: Files, store: Store) -> None:
    first = await commit(store, "First", foo=b"1")
    second = await commit(store, "Second", foo=b"2", bar=b"2")
    assert await files.read(f"snapshots/{second}/diff/{first}") == b"+ bar\n* foo\n"
    assert await files.read(f"snapshots/{first}/diff/{second}") == b"- bar\n* foo\n"
    assert await files.read(f"snapshots/{first}/diff/{first}") == b""


@pytest.mark.parametrize("directory", ["snapshots", "commits"])
async def test_commits_are_not_listed_and_must_exist(files: Files, directory: str) -> None:
    assert await files.list(directory) == []
    with pytest.raises(UnknownObject):
        await files.node(f"{directory}/{'1' * 40}")
    for name in ("master", "1" * 39, "A" * 40):
        with pytest.raises(InvalidHash):
            await files.node(f"{directory}/{name}")


async def test_a_commit_is_a_json_file(files: Files, store: Store) -> None:
    first = await commit(store, "First")
    value = json.loads(await files.read(f"commits/{first}"))
    assert value["id"] == first
    assert value["tree"] == EMPTY_TREE
    assert value["author"]["email"] == "datakit@mobyproject.org"
    assert value["message"] == "First"
    assert (await files.stat(f"commits/{first}")).version == 1


async def test_objects_are_found_by_kind_and_id(files: Files, store: Store) -> None:
    transaction = store.transaction("master")
    transaction.tree.put("dir/file", b"content")
    transaction.tree.put("link", b"dir/file", FileMode.LINK)
    head = store.commit(await transaction.commit())
    entries = {path: store.entry(head.tree, path) for path in ("dir", "dir/file", "link")}
    assert await files.list(f"trees/{entries['dir']}") == ["file"]
    assert (await files.stat(f"trees/{entries['dir']}")).name == "ro"
    assert await files.read(f"trees/{entries['dir/file']}") == b"content"
    assert await files.read(f"trees/{entries['link']}") == b"dir/file"
    assert (await files.stat(f"trees/{entries['link']}")).kind is Kind.LINK
    executable = str(entries["dir/file"]).replace("F-", "X-")
    assert (await files.stat(f"trees/{executable}")).kind is Kind.EXECUTABLE
    with pytest.raises(ReadOnly):
        await value_of((await files.open(f"trees/{entries['link']}")).write(0, b"x"))


async def test_trees_has_nothing_else(files: Files, store: Store) -> None:
    head = store.commit(await commit(store, "First", foo=b"1"))
    assert await files.list("trees") == []
    for name in (f"F-{head.tree}", f"D-{head.id}", f"Q-{head.tree}", "D-1", head.tree, ""):
        with pytest.raises(NoEntry):
            await files.node(["trees", name])


async def test_raw_objects_are_gits_own(files: Files, store: Store) -> None:
    head = store.commit(await commit(store, "First", foo=b"1"))
    entry = store.entry(head.tree, "foo")
    assert entry is not None
    assert await files.read(f".datakit/blob/{entry.id}") == b"1"
    assert await files.read(f".datakit/tree/{head.tree}") == b"100644 foo\0" + bytes.fromhex(
        entry.id
    )
    assert (await files.read(f".datakit/commit/{head.id}")).startswith(b"tree ")
    assert (await files.stat(f".datakit/tree/{head.tree}")).version == 1
    with pytest.raises(NoEntry):
        await files.node(f".datakit/blob/{head.tree}")
    with pytest.raises(InvalidHash):
        await files.node(".datakit/blob/1")


async def test_all_heads_are_in_one_file(files: Files, store: Store) -> None:
    first = await commit(store, "First")
    await store.fast_forward("a/b", first)
    await files.make("branch/made")
    assert await files.read(".datakit/heads") == f"{first} a/b\n{first} master\n".encode()
