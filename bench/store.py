"""The store against Git's own fastest ways to do the same: ``python -m bench store``.

Every commit of ours is on disk when it is acknowledged. ``git fast-import`` is asked for a
checkpoint after each commit, with its files synced, which promises as much; the plumbing commands
are what a script would run. What is compared is the ratio, in one run, on one disk.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from datakit_core.client import Database, connect
from datakit_core.server import serve_store
from datakit_core.store import CommitId, Durability, Store

__all__ = ["main"]

_DIRECTORIES, _FILES = 100, 1000
_COMMITS = 100
"""How many are timed from acknowledgement to watcher."""
_IDENTITY = "A. Writer <writer@example.org> 0 +0000"
_SYNCED = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory(prefix="datakit-bench-", dir=_disk()) as scratch:
        asyncio.run(_run(Path(scratch)))


def _disk() -> str | None:
    """A real disk, where a sync costs something; /tmp may be memory."""
    return os.environ.get("DATAKIT_BENCH_DIRECTORY")


async def _run(scratch: Path) -> None:
    peer = _fast_import(scratch / "peer.git", commits=200)
    print(f"durable commits of one small file, per second (git fast-import: {peer:.0f})")
    async with Store.open(scratch / "commits.git", create=True) as store:
        await _commit(store, "warm", "up", b"")
        for clients, branches in ((1, 1), (32, 32), (32, 1)):
            rate = await _rate(store, clients, branches, each=320 // clients)
            print(
                f"  {clients:2} clients on {branches:2} branches: {rate:6.0f}  {rate / peer:5.1f}x"
            )
    for durability in Durability:
        path = scratch / f"{durability.value}.git"
        async with Store.open(path, create=True, durability=durability) as store:
            await _measure_large_tree(store, durability)
            if durability is Durability.FULL:
                await _measure_watchers(store, scratch / "socket")


async def _commit(store: Store, branch: str, path: str, content: bytes) -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put(path, content)
    return await transaction.commit()


async def _rate(store: Store, clients: int, branches: int, each: int) -> float:
    async def client(number: int) -> None:
        for turn in range(each):
            branch = f"b{clients}-{number % branches}"
            await _commit(store, branch, f"file{number}", b"%d %d" % (number, turn))

    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(client(number))
    return clients * each / (time.perf_counter() - start)


async def _measure_large_tree(store: Store, durability: Durability) -> None:
    overlay = store.overlay(None)
    for directory in range(_DIRECTORIES):
        for number in range(_FILES):
            overlay.put(f"d{directory:02}/f{number:04}", b"")
    tree, objects = overlay.freeze()
    await store.write_objects(objects)
    base = await store.create_commit(tree, [], "100,000 files")
    await store.update_head("main", None, base)
    numbers = iter(range(10**9))

    async def change() -> None:
        number = next(numbers)
        await _commit(store, "main", f"d50/f{number % _FILES:04}", b"%d" % number)

    ours = await _best(change, 50)
    theirs = await _best(lambda: asyncio.to_thread(_plumbing, store.path, next(numbers)), 3)
    print(f"one changed file among 100,000, durability {durability.value}, in milliseconds")
    print(f"  datakit: {ours * 1e3:.2f}   git plumbing: {theirs * 1e3:.2f}   "
          f"{theirs / ours:.0f}x")  # fmt: skip


async def _measure_watchers(store: Store, socket: Path) -> None:
    """From the acknowledgement, as one client sees it, to the news, as another one does."""
    address = f"unix://{socket}"
    async with (
        serve_store(store, [address], maintenance=False),
        connect(address) as writer,
        connect(address) as watcher,
    ):
        print("from the acknowledgement of a commit to a watcher of the branch, in milliseconds")
        print(f"  one watcher: {_spread(await _latencies(writer, watcher))}")
        for number in range(10_000):
            store.subscribe_path("main", f"d{number % 50:02}/f{number // 50:04}", _ignore)
        print(f"  and 10,000 idle ones: {_spread(await _latencies(writer, watcher))}")


async def _latencies(writer: Database, watcher: Database) -> list[float]:
    """Seconds from acknowledgement to news, for each of some commits; negative if news is first."""
    acknowledged: dict[CommitId | None, float] = {}
    seen: dict[CommitId | None, float] = {}
    news = asyncio.Event()

    async def watch() -> None:
        async for head in watcher.watch_head("main"):
            seen[head] = time.perf_counter()
            news.set()
            if len(seen) > _COMMITS:
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        await news.wait()
        for number in range(_COMMITS):
            news.clear()
            async with writer.transaction("main") as transaction:
                await transaction.write("d50/f0000", b"%d %f" % (number, time.time()))
                head = await transaction.commit("")
            acknowledged[head] = time.perf_counter()
            await news.wait()
    return [seen[head] - moment for head, moment in acknowledged.items()]


def _spread(seconds: list[float]) -> str:
    ordered = sorted(second * 1e3 for second in seconds)
    return f"median {ordered[len(ordered) // 2]:.2f}, slowest of {len(ordered)} {ordered[-1]:.2f}"


def _ignore(_: object) -> None:
    """An idle watcher."""


async def _best(what: Callable[[], Awaitable[object]], times: int) -> float:
    """Seconds of the fastest of ``times`` runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        await what()
        best = min(best, time.perf_counter() - start)
    return best


def _git(path: Path, *arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(
        ["git", "-C", path, *arguments], input=given, capture_output=True, check=True,
        env=os.environ | {"GIT_INDEX_FILE": str(path / "bench.index")},
    )  # fmt: skip
    return done.stdout.decode().strip()


def _plumbing(path: Path, number: int) -> None:
    """One changed file by the commands that a script would use."""
    blob = _git(path, "hash-object", "-w", "--stdin", given=b"%d" % number)
    _git(path, "read-tree", "main")
    _git(path, "update-index", "--cacheinfo", f"100644,{blob},d50/f{number % _FILES:04}")
    tree = _git(path, "write-tree")
    parent = _git(path, "rev-parse", "main")
    identity = ("-c", "user.name=A. Writer", "-c", "user.email=writer@example.org")
    commit = _git(path, *identity, "commit-tree", tree, "-p", parent, "-m", "change")
    _git(path, "update-ref", "refs/heads/plumbing", commit)


def _fast_import(path: Path, commits: int) -> float:
    """Commits per second of git fast-import, each confirmed when it is on disk."""
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    with subprocess.Popen(
        ["git", *_SYNCED, "-C", path, "fast-import", "--quiet", "--done"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        start = time.perf_counter()
        for number in range(commits):
            content = b"%d" % number
            process.stdin.write(
                b"commit refs/heads/main\ncommitter %b\ndata 0\nM 100644 inline file\ndata %d\n%b\n"
                b"checkpoint\nprogress %d\n" % (_IDENTITY.encode(), len(content), content, number)
            )
            process.stdin.flush()
            process.stdout.readline()
        elapsed = time.perf_counter() - start
        process.stdin.write(b"done\n")
        process.stdin.close()
    return commits / elapsed


if __name__ == "__main__":
    main()
