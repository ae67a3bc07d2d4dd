"""Git over HTTP, by real Git: clones, pushes, who may and who may not, and what is bounded."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from datakit_core.errors import ConfigError
from datakit_core.smart_http import HttpAddress, Limits, serve_http
from datakit_core.store import CommitId, Store
from datakit_core.store.mirror import Pace, mirroring
from tests.support.certificates import Authority
from tests.support.databases import open_store
from tests.support.git import commit_file, git
from tests.support.processes import gone
from tests.support.waiting import until

TOKEN = "a-token-that-nobody-guesses"

Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "db.git") as opened:
        yield opened


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def served(store: Store) -> Serve:
    """Serves the store with the options given; the URL to clone from."""

    @asynccontextmanager
    async def serve(options: str = "", limits: Limits | None = None) -> AsyncIterator[str]:
        address = HttpAddress.parse(f"http://127.0.0.1:0/db.git{options}")
        async with serve_http(store.path, address, limits) as bound:
            yield str(bound)

    return serve


async def write(store: Store, branch: str, name: str = "file", data: bytes = b"x") -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put(name, data)
    return await transaction.commit()


async def run_git(
    directory: Path, *arguments: str | Path, **variables: str
) -> tuple[int | None, str]:
    """Exit code and standard error of a Git that talks to a server in this process."""
    process = await asyncio.create_subprocess_exec(
        "git", "-C", directory, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true",
            "LC_ALL": "C",
        } | variables,
    )  # fmt: skip
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


def with_token(url: str, secret: str = TOKEN) -> str:
    return url.replace("http://", f"http://anybody:{secret}@")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A checkout with a commit that the store does not have."""
    path = tmp_path / "work"
    commit_file(path, "pushed", b"pushed")
    return path


async def test_it_can_be_cloned(store: Store, served: Serve, tmp_path: Path) -> None:
    await write(store, "main", data=b"x" * 100_000)
    await write(store, "results/me/build")
    async with served() as url:
        assert await run_git(tmp_path, "clone", "-q", "--mirror", url, "clone") == (0, "")
    for branch, head in store.heads().items():
        assert git(tmp_path / "clone", "rev-parse", f"refs/heads/{branch}") == head


async def test_private_refs_are_not_shown(
    store: Store, served: Serve, work: Path, tmp_path: Path
) -> None:
    await write(store, "main")
    await store.fetch(str(work), "refs/heads/main")
    async with served() as url:
        assert await run_git(tmp_path, "clone", "-q", "--mirror", url, "clone") == (0, "")
    refs = git(tmp_path / "clone", "for-each-ref", "--format=%(refname)")
    assert refs == "refs/heads/main"


async def test_a_push_with_the_token_reaches_watchers(
    store: Store, served: Serve, token: Path, work: Path
) -> None:
    heads: asyncio.Queue[CommitId | None] = asyncio.Queue()
    subscription = store.subscribe_head("main", heads.put_nowait)
    async with served(f"?token={token}") as url:
        assert await run_git(work, "push", "-q", with_token(url), "main") == (0, "")
        assert await heads.get() == git(work, "rev-parse", "main")
        assert await run_git(work, "push", "-q", with_token(url), ":main") == (0, "")
        assert await heads.get() is None
    subscription.close()


@pytest.mark.parametrize("secret", ["", "wrong", TOKEN[:-1], f"{TOKEN}x"])
async def test_a_push_without_the_token_is_refused(
    secret: str, store: Store, served: Serve, token: Path, work: Path
) -> None:
    async with served(f"?token={token}") as url:
        code, errors = await run_git(work, "push", with_token(url, secret), "main")
        assert code == 128
        assert "Authentication failed" in errors or "could not read" in errors
        code, _ = await run_git(work, "ls-remote", url)
        assert code == 0
    assert store.heads() == {}


async def test_without_a_token_nobody_can_push(store: Store, served: Serve, work: Path) -> None:
    async with served() as url:
        code, errors = await run_git(work, "push", url, "main")
        assert code == 128
        assert "403" in errors
        async with aiohttp.ClientSession() as session:
            kind = {"Content-Type": "application/x-git-receive-pack-request"}
            async with session.post(f"{url}git-receive-pack", headers=kind) as reply:
                assert reply.status == 403
    assert store.heads() == {}


async def test_a_push_that_is_behind_is_refused(
    store: Store, served: Serve, token: Path, work: Path
) -> None:
    ours = await write(store, "main")
    async with served(f"?token={token}") as url:
        code, errors = await run_git(work, "push", with_token(url), "main")
        assert code == 1
        assert "fetch first" in errors
    assert store.head("main") == ours


async def test_pushes_and_transactions_lose_nothing_of_each_other(
    store: Store, served: Serve, token: Path, tmp_path: Path
) -> None:
    await write(store, "main", "start")
    work = tmp_path / "clone"

    async def push_until_accepted(url: str, number: int) -> None:
        while True:
            assert (await run_git(work, "pull", "-q", "--rebase", url, "main"))[0] == 0
            code, errors = await run_git(work, "push", with_token(url), "main")
            if code == 0:
                return
            assert "rejected" in errors, number

    async def commit() -> None:
        for number in range(20):
            await write(store, "main", f"ours-{number}")
            await write(store, "other", f"ours-{number}")
            await asyncio.sleep(0.01)  # the rate of the commits, so that pushes get between them

    async with served(f"?token={token}") as url:
        assert (await run_git(tmp_path, "clone", "-q", url, "clone"))[0] == 0
        git(work, "config", "user.name", "A. Writer")
        git(work, "config", "user.email", "writer@example.org")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(commit())
            for number in range(3):
                commit_file(work, f"theirs-{number}", b"theirs")
                await push_until_accepted(url, number)
    names = git(store.path, "ls-tree", "--name-only", "main").splitlines()
    wanted = {"start", *(f"ours-{n}" for n in range(20)), *(f"theirs-{n}" for n in range(3))}
    assert set(names) == wanted
    assert git(store.path, "fsck", "--full", "--no-dangling") == ""


async def test_a_commit_is_fetched_by_its_id_where_that_is_allowed(
    store: Store, served: Serve, tmp_path: Path
) -> None:
    wanted = await write(store, "main", "first")
    await write(store, "main", "second")
    for options, code in (("?any-id", 0), ("", 128)):
        copy = tmp_path / f"copy{code}"
        copy.mkdir()
        git(copy, "init", "-q")
        async with served(options) as url:
            found, errors = await run_git(copy, "fetch", "-q", "--depth=1", url, wanted)
        assert found == code
        if code:
            assert "does not allow request for unadvertised object" in errors
        else:
            assert git(copy, "ls-tree", "--name-only", "FETCH_HEAD") == "first"
            assert git(copy, "rev-list", "--count", "FETCH_HEAD") == "1"


async def test_a_pushed_tree_that_would_harm_a_checkout_is_refused(
    store: Store, served: Serve, token: Path, work: Path
) -> None:
    blob = git(work, "hash-object", "-w", "--stdin", given=b"evil")
    tree = git(work, "mktree", "--missing", given=f"100644 blob {blob}\t.git\n".encode())
    commit = git(work, "commit-tree", "-m", "evil", tree)
    async with served(f"?token={token}") as url:
        code, errors = await run_git(work, "push", with_token(url), f"{commit}:refs/heads/evil")
        assert code == 1
        assert "hasDotgit" in errors
        code, errors = await run_git(work, "push", with_token(url), "main:refs/datakit/x")
        assert code == 1
        assert "hidden ref" in errors
    assert store.heads() == {}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "info/refs", 403),
        ("GET", "info/refs?service=git-evil", 403),
        ("GET", "info/refs?service=git-upload-pack&x=y", 403),
        ("GET", "HEAD", 404),
        ("GET", "objects/info/packs", 404),
        ("GET", "../config", 404),
        ("GET", "%2e%2e/config", 404),
        ("GET", "git-upload-pack", 405),
        ("POST", "git-upload-pack", 415),
        ("POST", "git-upload-archive", 404),
    ],
)
async def test_only_the_smart_protocol_is_spoken(
    method: str, path: str, status: int, served: Serve
) -> None:
    async with (
        served() as url,
        aiohttp.ClientSession() as session,
        session.request(method, f"{url}{path}") as reply,
    ):
        assert reply.status == status
        assert "Traceback" not in await reply.text()


async def test_a_name_that_only_points_here_is_refused(served: Serve) -> None:
    refs = "info/refs?service=git-upload-pack"
    async with served() as url, aiohttp.ClientSession() as session:
        for host, status in (("evil.example", 421), ("evil.example:80", 421), ("localhost", 200)):
            async with session.get(f"{url}{refs}", headers={"Host": host}) as reply:
                assert reply.status == status


@pytest.mark.parametrize("buffer", [100_000, 1_000_000])
async def test_a_push_that_is_too_large_is_refused(
    buffer: int, store: Store, served: Serve, token: Path, work: Path
) -> None:
    commit_file(work, "large", os.urandom(300_000))
    async with served(f"?token={token}", Limits(body=200_000)) as url:
        setting = f"http.postBuffer={buffer}"  # beyond it the length is not known in advance
        code, errors = await run_git(work, "-c", setting, "push", with_token(url), "main")
        assert code in (1, 128)
        assert "413" in errors or "exceeds maximum allowed size" in errors
    assert store.heads() == {}


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_is_measured_as_it_is_unpacked(
    packed: bool, store: Store, served: Serve
) -> None:
    body = f"0032want {await write(store, 'main')}\n".encode() * 10_000

    async def pieces() -> AsyncIterator[bytes]:
        yield gzip.compress(body) if packed else body

    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    async with (
        served(limits=Limits(body=100_000)) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}git-upload-pack", data=pieces(), headers=headers) as reply,
    ):
        assert reply.status == 413
        assert await reply.text() == "a request may have 100000 bytes\n"


@asynccontextmanager
async def half_a_request(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """A request whose body never ends."""
    port = int(url.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /db.git/git-upload-pack HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n0"
    )
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


def backends() -> set[int]:
    """The Git processes that this one has started and that still run."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return {pid for pid, command in commands.items() if b"http-backend" in command}


async def one_backend() -> int:
    while not (found := backends()):  # noqa: ASYNC110 - a process has no event for its start
        await asyncio.sleep(0)
    (pid,) = found
    return pid


async def test_git_ends_with_the_connection(served: Serve) -> None:
    async with served() as url:
        async with half_a_request(url):
            pid = await one_backend()
        await gone(pid)


async def test_a_request_that_takes_too_long_is_ended(served: Serve) -> None:
    async with served(limits=Limits(seconds=0.2)) as url, half_a_request(url) as reader:
        assert b" 504 " in await reader.readline()
    assert backends() == set()


async def test_requests_beyond_the_limit_are_asked_to_come_again(served: Serve) -> None:
    async with (
        served(limits=Limits(at_once=1)) as url,
        half_a_request(url),
        aiohttp.ClientSession() as session,
    ):
        await one_backend()
        async with session.get(f"{url}info/refs?service=git-upload-pack") as reply:
            assert reply.status == 503
            assert reply.headers["Retry-After"] == "1"


async def test_it_can_be_served_within_tls(store: Store, tmp_path: Path) -> None:
    head = await write(store, "main")
    authority = Authority(tmp_path, "authority")
    own = authority.identity("server")
    address = HttpAddress("127.0.0.1", 0, cert=own.cert, key=own.key)
    async with serve_http(store.path, address) as bound:
        trust = {"GIT_SSL_CAINFO": str(authority.cert)}
        assert await run_git(tmp_path, "clone", "-q", str(bound), "c", **trust) == (0, "")
        assert (await run_git(tmp_path, "ls-remote", str(bound)))[0] == 128
    assert git(tmp_path / "c", "rev-parse", "origin/main") == head


async def test_an_address_in_use_is_one_clear_error(store: Store, served: Serve) -> None:
    async with served() as url:
        port = int(url.split(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match=r"^--listen-http: cannot listen on .* in use"):
            async with serve_http(store.path, HttpAddress("127.0.0.1", port)):
                pass


async def test_a_mirror_pushes_here_also_after_an_outage(
    store: Store, token: Path, tmp_path: Path
) -> None:
    pace = Pace(batch=0.01, first=0.02, longest=0.1)
    address = HttpAddress("127.0.0.1", 0, token=token)
    async with open_store(tmp_path / "copy.git") as copy:
        async with serve_http(copy.path, address) as bound:
            pass  # nobody is there when the mirror begins
        await write(store, "main")
        async with mirroring(store, with_token(str(bound)), pace) as mirror:
            for outage in (1, 2):
                await until(lambda: mirror.status.failures >= outage)  # noqa: B023 - used at once
                async with serve_http(copy.path, bound):
                    await mirror.in_step.wait()
                    assert copy.head("main") == store.head("main")
                mirror.status.failures = outage
                await write(store, "main", f"after-{outage}")
