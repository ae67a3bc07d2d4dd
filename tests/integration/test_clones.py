"""``/db.git`` by real Git: everybody gets the branches that they may read, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from datakit_ci.acl import Rights, Role, Rules, everyone, username
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.clones import Clones
from datakit_core.smart_http import Limits, Views
from datakit_core.store import CommitId, Store
from tests.support.databases import open_store
from tests.support.fake_engine import FakeEngine
from tests.support.git import git
from tests.support.visitors import TokenAccounts

OPEN = {"results/me-open/unit", "status-me-open-ref-heads-main"}
SHUT = {"results/me-shut/unit", "status-me-shut-pr-1"}
SHARED = {"github-metadata", "control", "commit-index", "raw"}

RULES = Rules(
    Rights(read=everyone),
    {"me/open": Rights(read=everyone), "me/shut": Rights(read=username("ann"))},
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "db.git") as opened:
        for branch in sorted(OPEN | SHUT | SHARED):
            await write(opened, branch, f"first of {branch}")
            await write(opened, branch, branch)
        yield opened


async def write(store: Store, branch: str, content: str) -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put("file", content.encode())
    return await transaction.commit()


@pytest.fixture
def accounts() -> TokenAccounts:
    found = TokenAccounts()
    found.add("of-ann", "ann")
    found.add("of-bob", "bob")
    found.add("of-ann-for-open", "ann", Role.READ, "me/open")
    return found


@pytest.fixture
async def url(store: Store, accounts: TokenAccounts) -> AsyncIterator[str]:
    clones = Clones(store.heads, Views(store.path))
    access = Access(lambda: RULES, accounts)
    async with TestServer(create_app(FakeEngine(), access=access, repository=clones)) as server:
        yield str(server.make_url("/"))


def with_token(url: str, token: str, path: str = "private/db.git") -> str:
    return url.replace("http://", f"http://x:{token}@") + path


async def run(*arguments: str | Path) -> tuple[int | None, str]:
    """Run Git; exit status and what it says."""
    process = await asyncio.create_subprocess_exec(
        "git", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def branches(url: str) -> set[str]:
    code, output = await run("ls-remote", url)
    assert code == 0, output
    return {line.split("refs/heads/")[1] for line in output.splitlines()}


async def test_everybody_gets_the_branches_of_what_they_may_read(url: str) -> None:
    assert await branches(f"{url}db.git") == OPEN
    assert await branches(with_token(url, "of-bob")) == OPEN
    assert await branches(with_token(url, "of-ann")) == OPEN | SHUT | SHARED
    assert await branches(with_token(url, "of-ann-for-open")) == OPEN


async def test_the_private_address_asks_who_it_is(url: str) -> None:
    for address in (f"{url}private/db.git", with_token(url, "guessed")):
        code, output = await run("ls-remote", address)
        assert code == 128
        assert "uthenticat" in output or "could not read" in output


async def test_a_clone_is_a_whole_backup_and_fetches_what_is_new(
    url: str, store: Store, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    code, output = await run("clone", "-q", "--mirror", with_token(url, "of-ann"), clone)
    assert (code, output) == (0, "")
    for branch, head in store.heads().items():
        assert git(clone, "rev-parse", f"refs/heads/{branch}") == head
    assert git(clone, "fsck", "--strict") == ""
    new = await write(store, "results/me-open/unit", "third")
    assert (await run("-C", clone, "fetch", "-q"))[0] == 0
    assert git(clone, "rev-parse", "refs/heads/results/me-open/unit") == new


@pytest.mark.parametrize("version", ["0", "1", "2"])
async def test_every_version_of_the_protocol_sees_the_same(
    url: str, store: Store, tmp_path: Path, version: str
) -> None:
    speak = ("-c", f"protocol.version={version}")
    code, output = await run(*speak, "clone", "-q", "--mirror", f"{url}db.git", tmp_path / "clone")
    assert (code, output) == (0, "")
    refs = git(tmp_path / "clone", "for-each-ref", "--format=%(refname:lstrip=2)")
    assert set(refs.split()) == OPEN


async def test_a_shallow_clone_has_the_newest_commit_only(url: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    code, output = await run(
        "clone",
        "-q",
        "--bare",
        "--depth",
        "1",
        "--branch",
        "results/me-open/unit",
        f"{url}db.git",
        clone,
    )
    assert code == 0, output
    assert git(clone, "rev-list", "--count", "HEAD") == "1"


async def test_what_is_not_advertised_cannot_be_fetched_by_its_id(
    url: str, store: Store, tmp_path: Path
) -> None:
    head = store.heads()["results/me-shut/unit"]
    commit = store.commit(head)
    wanted = [head, *commit.parents, commit.tree]
    git(tmp_path, "init", "-q", "--bare", "mine")
    for id_ in wanted:
        for version in ("0", "1", "2"):
            code, output = await run(
                "-C", tmp_path / "mine", "-c", f"protocol.version={version}",
                "fetch", "-q", f"{url}db.git", id_,
            )  # fmt: skip
            assert code != 0, output
            assert "not our ref" in output or "unadvertised" in output, output


def packet(line: str) -> bytes:
    """A line as Git's protocol has it (gitprotocol-common(5))."""
    return b"%04x%s" % (len(line) + 4, line.encode())


@pytest.mark.parametrize("second", [False, True])
async def test_a_client_that_makes_its_own_requests_gets_no_more(
    url: str, store: Store, *, second: bool
) -> None:
    """Git checks what it asks for; others may say anything, in either version."""
    head = store.heads()["results/me-shut/unit"]
    old = packet(f"want {head} no-progress\n") + b"0000" + packet("done\n")
    new = (
        packet("command=fetch\n") + b"0001" + packet(f"want {head}\n") + packet("done\n") + b"0000"
    )
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    if second:
        headers["Git-Protocol"] = "version=2"
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}db.git/git-upload-pack", data=new if second else old, headers=headers
        ) as reply,
    ):
        body = b""
        with suppress(aiohttp.ClientPayloadError):  # Git ends badly, and so do we
            async for piece in reply.content.iter_any():
                body += piece
    assert b"PACK" not in body
    assert reply.status != 200 or b"ERR" in body


async def test_an_object_that_was_advertised_a_moment_ago_can_still_be_fetched(
    url: str, store: Store
) -> None:
    head = store.heads()["results/me-open/unit"]
    await write(store, "results/me-open/unit", "newer")
    body = packet(f"want {head} no-progress\n") + b"0000" + packet("done\n")
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}db.git/git-upload-pack", data=body, headers=headers) as reply,
    ):
        assert b"PACK" in await reply.read()


async def test_nothing_can_be_pushed(url: str, tmp_path: Path, store: Store) -> None:
    clone = tmp_path / "clone"
    await run("clone", "-q", "--mirror", f"{url}db.git", clone)
    before = dict(store.heads())
    code, output = await run("-C", clone, "push", "-q", with_token(url, "of-ann"), "HEAD:evil")
    assert code != 0
    assert "403" in output or "match" in output
    for path in ("db.git/git-receive-pack", "private/db.git/git-receive-pack"):
        async with aiohttp.ClientSession() as session, session.post(url + path) as reply:
            assert reply.status == 403
    assert dict(store.heads()) == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("db.git/HEAD", 404),
        ("db.git/objects/info/packs", 404),
        ("db.git/config", 404),
        ("db.git/../db.git/config", 404),
        ("db.git/info/refs", 403),
        ("db.git/info/refs?service=git-receive-pack", 403),
        ("db.git/info/refs?service=git-upload-archive", 403),
    ],
)
async def test_only_the_smart_protocol_is_spoken(url: str, path: str, status: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + path) as reply:
        assert reply.status == status


async def test_only_so_many_clones_run_at_once(store: Store, tmp_path: Path) -> None:
    views = Views(store.path, Limits(at_once=1))
    app = create_app(FakeEngine(), repository=Clones(store.heads, views))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = server.make_url("/db.git/git-upload-pack")
        sending = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield packet("want " + "0" * 40 + "\n")
            sending.set()
            await asyncio.Event().wait()

        headers = {"Content-Type": "application/x-git-upload-pack-request"}
        async with asyncio.TaskGroup() as group:
            first = group.create_task(
                session.post(url, data=slowly(), headers=headers).__aenter__()
            )
            await sending.wait()
            while True:
                async with session.post(url, data=b"0000", headers=headers) as reply:
                    if reply.status == 503:
                        assert reply.headers["Retry-After"]
                        break
            first.cancel()


async def test_a_client_that_stops_sending_is_cut_off(store: Store) -> None:
    views = Views(store.path, Limits(seconds=0.3))
    app = create_app(FakeEngine(), repository=Clones(store.heads, views))
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /db.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/x-git-upload-pack-request\r\n\r\n0032"
        )
        assert b" 504 " in await reader.readline()
        writer.close()


async def test_without_a_repository_of_our_own_it_is_said_where_it_is() -> None:
    async with (
        TestServer(create_app(FakeEngine())) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/db.git/info/refs?service=git-upload-pack")) as reply,
    ):
        assert reply.status == 404
        assert "at another server" in await reply.text()
