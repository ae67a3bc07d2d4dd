"""Listeners of a database, each with its own rights, and a bridge that meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.bridges.local_git import LocalGitBridge, LocalRepository
from datakit_core.client import connect
from datakit_core.errors import DatakitError, NoEntry, NotPermitted
from datakit_core.server import serve_store
from datakit_core.store import FetchPolicy
from tests.support.databases import open_store
from tests.support.git import commit_file


async def test_each_listener_has_its_own_rights(tmp_path: Path) -> None:
    urls = [
        f"unix://{tmp_path}/all",
        f"unix://{tmp_path}/some?branch=results/*&branch=main",
        "tcp://127.0.0.1:0?ro&branch=main",
    ]
    async with open_store(tmp_path / "db.git") as store, serve_store(store, urls) as server:
        everything, some, look = (str(endpoint).partition("?")[0] for endpoint in server.endpoints)
        async with connect(everything) as database, connect(some) as limited, connect(look) as eye:
            for branch in ("main", "secret", "results/a"):
                async with database.transaction(branch) as transaction:
                    await transaction.write("file", branch.encode())
                    await transaction.commit("begin")
            assert sorted(await database.branches()) == ["main", "results/a", "secret"]
            assert sorted(await limited.branches()) == ["main", "results/a"]
            assert sorted(await eye.branches()) == ["main"]
            assert await limited.head("secret") is None
            async with limited.transaction("results/b") as transaction:
                await transaction.write("file", b"mine")
                head = await transaction.commit("write what is mine")
            assert await database.head("results/b") == head
            with pytest.raises(NotPermitted):
                async with limited.transaction("secret"):
                    pass
            with pytest.raises(DatakitError, match="Read-only connection"):
                async with eye.transaction("main"):
                    pass
            assert await anext(aiter(eye.watch_head("main"))) == await database.head("main")
            with pytest.raises(NoEntry):
                await anext(aiter(eye.watch_head("secret")))


async def test_a_client_from_the_network_reads_no_local_repository(tmp_path: Path) -> None:
    path = tmp_path / "private"
    there = commit_file(path, "file", b"private")
    urls = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s", f"unix://{tmp_path}/t?branch=*"]
    async with open_store(tmp_path / "db.git") as store, serve_store(store, urls) as server:
        network, own, limited = (str(each).partition("?")[0] for each in server.endpoints)
        for url in (network, limited):
            async with connect(url) as database:
                for place in (str(path), f"file://{path}"):
                    with pytest.raises(NotPermitted, match=rf"--allow-fetch file:{path}"):
                        await database.fetch(place, "refs/heads/main")
        async with connect(own) as database:
            assert await database.fetch(str(path), "refs/heads/main") == there


async def test_a_bridge_is_told_what_to_allow_and_works_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "app"
    there = commit_file(path, "file", b"content")
    repository = LocalRepository("me/app", path)
    policies = [FetchPolicy.parse("none"), FetchPolicy.parse(f"file:{tmp_path}/a*")]
    async with open_store(tmp_path / "db.git") as store:
        for policy in policies:
            async with (
                serve_store(store, ["tcp://127.0.0.1:0"], allow_fetch=policy) as server,
                connect(str(server.endpoints[0])) as database,
            ):
                bridge = LocalGitBridge(database, [repository])
                if policy == policies[0]:
                    with pytest.raises(NotPermitted, match=rf"--allow-fetch file:{path}, or"):
                        await bridge.sync(repository)
                else:
                    assert await bridge.sync(repository)
        head = store.head("github-metadata")
        assert head is not None
        blob = store.entry(store.commit(head).tree, "me/app/ref/heads/main/head")
        assert blob is not None
        assert store.raw(blob.id).decode().strip() == there
