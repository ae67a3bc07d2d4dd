"""The writer process: started when needed, restarted when killed, gone when it should be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.errors import RepositoryError
from datakit_core.store import CommitId, ObjectKind, Store, new_object
from datakit_core.store.process import ProcessWriter
from tests.support.git import git


@pytest.fixture
async def writers() -> list[ProcessWriter]:
    """The writers of the store, in the order in which they were made."""
    return []


@pytest.fixture
async def store(tmp_path: Path, writers: list[ProcessWriter]) -> AsyncIterator[Store]:
    def make(path: Path) -> ProcessWriter:
        writers.append(ProcessWriter(path))
        return writers[-1]

    async with Store.open(tmp_path / "store.git", create=True, writer=make) as store:
        yield store


async def commit(store: Store, branch: str, name: str, content: bytes = b"x") -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put(name, content)
    return await transaction.commit()


async def commit_much(store: Store, branch: str, name: str) -> CommitId:
    """Commit so many files that they are written ahead, none of which is kept on disk meanwhile."""
    transaction = store.transaction(branch)
    for number in range(16):
        transaction.tree.put(f"{name}/{number}", os.urandom(1 << 16))
    return await transaction.commit()


def pid_of(writer: ProcessWriter) -> int:
    assert writer.pid is not None
    return writer.pid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_nothing_is_started_before_the_first_write(
    store: Store, writers: list[ProcessWriter]
) -> None:
    assert store.head("main") is None
    assert [writer.pid for writer in writers] == [None, None]
    await commit(store, "main", "a")
    assert [writer.pid is None for writer in writers] == [False, True]


async def test_a_small_commit_does_not_wait_for_a_large_one(
    store: Store, writers: list[ProcessWriter]
) -> None:
    await commit(store, "main", "a")
    await commit_much(store, "main", "large")
    assert writers[0].pid != writers[1].pid
    os.kill(pid_of(writers[1]), signal.SIGSTOP)
    try:
        async with asyncio.TaskGroup() as tasks:
            large = tasks.create_task(commit_much(store, "main", "larger"))
            await asyncio.sleep(0)
            small = await commit(store, "main", "b")
            assert not large.done()
            os.kill(pid_of(writers[1]), signal.SIGCONT)
    finally:
        os.kill(pid_of(writers[1]), signal.SIGCONT)
    assert store.commit(large.result()).parents[0] == small


async def test_a_killed_writer_fails_what_waits_and_is_replaced(
    store: Store, writers: list[ProcessWriter]
) -> None:
    first = await commit(store, "main", "a")
    pid = pid_of(writers[0])
    os.kill(pid, signal.SIGSTOP)
    waiting = [store.transaction("main") for _ in range(3)]
    for number, transaction in enumerate(waiting):
        transaction.tree.put(f"w{number}", b"x")

    async def fails(number: int) -> None:
        with pytest.raises(RepositoryError, match="writer process died"):
            await waiting[number].commit()

    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(fails(number))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
    assert store.head("main") == first
    assert not any(transaction.closed for transaction in waiting)
    for transaction in waiting:
        await transaction.commit()
    assert pid_of(writers[0]) != pid
    head = store.head("main")
    assert head is not None
    assert set(store.tree(store.commit(head).tree)) == {"a", "w0", "w1", "w2"}
    git(store.path, "fsck", "--full")


async def test_killing_the_writer_again_and_again_loses_nothing_acknowledged(
    store: Store, writers: list[ProcessWriter]
) -> None:
    acknowledged: set[str] = set()

    async def keep_committing(task: int) -> None:
        for number in range(20):
            name = f"{task}-{number}"
            while True:
                try:
                    await commit(store, f"branch{task % 2}", name)
                except RepositoryError:
                    continue
                acknowledged.add(name)
                if len(acknowledged) % 13 == 0:
                    os.kill(pid_of(writers[0]), signal.SIGKILL)
                break

    async with asyncio.TaskGroup() as tasks:
        for task in range(4):
            tasks.create_task(keep_committing(task))
    found: set[str] = set()
    for branch in ("branch0", "branch1"):
        head = store.head(branch)
        assert head is not None
        found.update(store.tree(store.commit(head).tree))
    assert found == acknowledged
    git(store.path, "fsck", "--full")
    assert not list((store.path / "refs").rglob("*.lock"))


async def test_commits_for_which_there_is_no_room_fail_and_others_follow(
    store: Store, writers: list[ProcessWriter]
) -> None:
    acknowledged = [await commit(store, "main", "a")]
    pid = pid_of(writers[0])
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    for name in ("b", "c"):
        with pytest.raises(RepositoryError, match="File too large"):
            await commit(store, "main", name)
    assert store.head("main") == acknowledged[0]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    acknowledged.append(await commit(store, "main", "d"))
    assert pid_of(writers[0]) == pid, "the writer lives"
    os.kill(pid, signal.SIGKILL)
    acknowledged.append(await until_committed(store, "e"))
    history = git(store.path, "rev-list", "--first-parent", "main").split()
    assert history == [*reversed(acknowledged)]
    git(store.path, "fsck", "--full")
    assert not [*(store.path / "refs").rglob("*.lock")]


async def until_committed(store: Store, name: str) -> CommitId:
    """Commit, again if the writer was found dead."""
    while True:
        with contextlib.suppress(RepositoryError):
            return await commit(store, "main", name)


async def test_the_writer_ends_with_the_store(tmp_path: Path) -> None:
    writers: list[ProcessWriter] = []

    def make(path: Path) -> ProcessWriter:
        writers.append(ProcessWriter(path))
        return writers[-1]

    async with Store.open(tmp_path / "store.git", create=True, writer=make) as store:
        await commit(store, "main", "a")
        pid = pid_of(writers[0])
        assert is_alive(pid)
    assert not is_alive(pid)
    with pytest.raises(RepositoryError, match="closed"):
        await commit(store, "main", "b")


async def test_the_writer_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from datakit_core.store import Store\n"
        "from datakit_core.store.process import ProcessWriter\n"
        "made = []\n"
        "def make(path):\n"
        "    made.append(ProcessWriter(path)); return made[-1]\n"
        "async def main():\n"
        "    async with Store.open(Path(sys.argv[1]), create=True, writer=make) as store:\n"
        "        await store.transaction('main').commit()\n"
        "        print(made[0].pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, tmp_path / "store.git", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    assert is_alive(pid)
    process.kill()
    await ended.wait()
    await process.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def test_a_commit_that_was_submitted_is_carried_out_although_nobody_waits(
    store: Store, writers: list[ProcessWriter]
) -> None:
    await commit(store, "main", "a")
    os.kill(pid_of(writers[0]), signal.SIGSTOP)
    told = asyncio.Event()
    store.subscribe_head("main", lambda _: told.set())
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(commit(store, "main", "b"))
            await asyncio.sleep(0)
            task.cancel()
    finally:
        os.kill(pid_of(writers[0]), signal.SIGCONT)
    await told.wait()
    head = store.head("main")
    assert head is not None
    assert "b" in store.tree(store.commit(head).tree)


async def test_more_requests_than_the_queue_holds_are_all_answered(store: Store) -> None:
    blobs = [new_object(ObjectKind.BLOB, b"%d" % number) for number in range(600)]
    async with asyncio.TaskGroup() as tasks:
        for blob in blobs:
            tasks.create_task(store.write_objects([blob]))
    assert all(store.kind(blob.id) is ObjectKind.BLOB for blob in blobs)
