"""Maintenance of a repository that is in use: nothing is lost, and what is unused goes, late."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from datakit_core import leash
from datakit_core.errors import StoreError, UnknownObject
from datakit_core.store import BlobId, CommitId, ObjectKind, Store, new_object, open_reader
from datakit_core.store.housekeeping import MARKS, Limits, Step
from datakit_core.store.maintenance import Maintenance, Pace, maintaining
from tests.support.command import run
from tests.support.commits import commit, files_of
from tests.support.git import git
from tests.support.waiting import until

BUSY = Limits(loose=256, packs=3, refs=4, grace=20.0)
EAGER = Pace(look=0.02, first=0.05, longest=0.1)

DAY = 86_400.0


class Clock:
    """Now, and what a test adds to it."""

    def __init__(self) -> None:
        self.later = 0.0

    def __call__(self) -> float:
        return time.time() + self.later


@asynccontextmanager
async def opened(
    path: Path, clock: Clock | None = None
) -> AsyncIterator[tuple[Store, Maintenance]]:
    async with Store.open(path, create=True) as store:
        yield store, Maintenance(store, Limits(grace=2 * DAY), clock=clock or Clock())


def ages(path: Path, seconds: float) -> None:
    """Let all objects be older."""
    for file in (path / "objects").rglob("*"):
        if file.is_file():
            moment = file.stat().st_mtime - seconds
            os.utime(file, (moment, moment))


async def lost(path: Path, head: CommitId) -> bool:
    """Whether Git has no such object; ours may still have a file open that was removed."""
    command = ["git", "-C", str(path), "cat-file", "-e", head]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    return done.returncode != 0


@dataclass(slots=True)
class Crowd:
    """All who use a store at the same time, and what they were told.

    Attributes:
        store: The store.
        heads: The commits of each branch.
        blobs: What was committed.
    """

    store: Store
    heads: dict[str, list[str]] = field(default_factory=dict)
    blobs: dict[BlobId, bytes] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(4))

    async def write(self, writer: int) -> None:
        branch = f"branch-{writer % 3}"
        for number in range(60):
            content = b"%d" % self.chance.randrange(30)  # often one that was there before
            head = await commit(
                self.store, branch, **{f"{writer}": content, f"{writer}-n": b"%d" % number}
            )
            self.heads.setdefault(branch, []).append(head)
            self.blobs[BlobId(new_object(ObjectKind.BLOB, content).id)] = content

    async def come_and_go(self) -> None:
        for _ in range(60):
            await commit(self.store, "short/lived", f=b"%d" % self.chance.randrange(30))
            await self.store.remove_branch("short/lived")

    async def push_from_elsewhere(self) -> None:
        path = self.store.path
        tree = await asyncio.to_thread(git, path, "mktree")
        for number in range(20):
            made = await asyncio.to_thread(git, path, "commit-tree", tree, "-m", str(number))
            await asyncio.to_thread(git, path, "update-ref", f"refs/heads/their-{number}", made)
            self.heads[f"their-{number}"] = [made]

    async def read(self, enough: Callable[[], bool]) -> None:
        while not enough():
            for blob, content in self.blobs.items():
                assert self.store.blob(blob) == content
            assert all(self.store.head(branch) for branch in self.heads)
            await asyncio.sleep(0)

    def check(self) -> None:
        path = self.store.path
        git(path, "fsck", "--full", "--strict")
        reader = open_reader(path)
        assert all(reader.blob(blob) == content for blob, content in self.blobs.items())
        reader.close()
        for branch, heads in self.heads.items():
            assert set(heads) <= set(git(path, "rev-list", branch).split())


async def test_nothing_is_lost_under_committers_readers_and_other_git_processes(
    tmp_path: Path,
) -> None:
    async with (
        Store.open(tmp_path / "db.git", create=True) as store,
        maintaining(store, BUSY, EAGER) as it,
    ):
        crowd, steps = Crowd(store), it.status.steps
        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(crowd.write(number))
            tasks.create_task(crowd.come_and_go())
            tasks.create_task(crowd.push_from_elsewhere())
            tasks.create_task(
                crowd.read(lambda: bool(steps[Step.PACK].done and steps[Step.REFS].done))
            )
        assert not any(outcomes.failed for outcomes in steps.values())
    await asyncio.to_thread(crowd.check)


async def test_packing_leaves_few_files(tmp_path: Path) -> None:
    async with opened(tmp_path / "db.git") as (store, maintenance):
        for number in range(50):
            await commit(store, f"many/{number}", f=b"%d" % number)
        assert (await maintenance.look()).refs == 50
        await maintenance.take(Step.PACK)
        await maintenance.take(Step.REFS)
        facts = await maintenance.look()
        assert (facts.loose, facts.packs, facts.refs) == (0, 1, 0)
        assert len(store.heads()) == 50
        assert files_of(store, store.heads()["many/7"]) == {"f": b"7"}
        await commit(store, "many/7", f=b"after")
        assert store.head("many/7") == store.heads()["many/7"]


@pytest.mark.usefixtures("nonblocking")
async def test_maintenance_that_is_stopped_within_a_step_ends_at_once(tmp_path: Path) -> None:
    def stop() -> float:
        task = asyncio.current_task()  # that of the maintenance, which asks for the time in a step
        assert task is not None
        task.cancel()
        return time.time()

    async with Store.open(tmp_path / "db.git", create=True) as store:
        maintenance = Maintenance(store, Limits(), Pace(look=0.0, first=3600.0), stop)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(maintenance.run())
        assert running.cancelled()
        assert maintenance.status.steps[Step.COLLECT].done == 0


async def test_what_is_unused_goes_after_the_time_of_grace(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "db.git", clock) as (store, maintenance):
        kept = await commit(store, "main", f=b"kept")
        gone = await commit(store, "gone", f=b"gone")
        await maintenance.take(Step.COLLECT)
        await store.remove_branch("gone")
        for _ in range(2):
            clock.later += DAY + 1
            assert not await lost(store.path, gone)
            await maintenance.take(Step.COLLECT)
        clock.later += DAY + 1
        await maintenance.take(Step.COLLECT)
        assert await lost(store.path, gone)
        assert not await lost(store.path, kept)
        marks = git(store.path, "for-each-ref", "--format=%(refname)", MARKS).split()
        assert len(marks) == 2
        await store.reopen()
        with pytest.raises(UnknownObject):
            store.raw(gone)
        again = await commit(store, "gone", f=b"gone")
        assert files_of(store, again) == {"f": b"gone"}
        git(store.path, "fsck", "--full", "--strict")


async def test_a_branch_that_went_lately_is_kept_however_old_it_is(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "db.git", clock) as (store, maintenance):
        old = await commit(store, "old", f=b"old")
        ages(store.path, 100 * DAY)
        await maintenance.take(Step.COLLECT)
        await store.remove_branch("old")
        clock.later += DAY + 1
        await maintenance.take(Step.COLLECT)
        assert not await lost(store.path, old)


async def test_an_open_transaction_keeps_what_it_began_with(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "db.git", clock) as (store, maintenance):
        await commit(store, "main", deep__file=b"content", other=b"1")
        transaction = store.transaction("main")
        await store.remove_branch("main")
        ages(store.path, 100 * DAY)
        for _ in range(5):
            clock.later += DAY + 1
            await maintenance.take(Step.COLLECT)
        transaction.tree.put("new", b"2")
        head = await transaction.commit()
        assert files_of(store, head) == {"deep/file": b"content", "other": b"1", "new": b"2"}
        git(store.path, "fsck", "--full", "--strict")


async def test_what_is_written_again_does_not_rely_on_a_pack_that_may_drop_it(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with opened(tmp_path / "db.git", clock) as (store, maintenance):
        await maintenance.take(Step.COLLECT)
        head = await commit(store, "main", f=b"content")
        blob = store.entry(store.commit(head).tree, "f")
        assert blob is not None
        await store.remove_branch("main")
        await maintenance.take(Step.PACK)
        ages(store.path, 100 * DAY)
        await commit(store, "other", g=b"content")
        assert (store.path / "objects" / blob.id[:2] / blob.id[2:]).exists()


async def test_what_is_imported_again_does_not_rely_on_a_pack_either(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "file").write_bytes(b"content")
    async with opened(tmp_path / "db.git") as (store, maintenance):
        tree = await store.import_directory(tmp_path / "directory")
        await maintenance.take(Step.PACK)
        assert (await maintenance.look()).packs == 1
        loose = store.path / "objects" / tree[:2] / tree[2:]
        assert not loose.exists()
        await store.import_directory(tmp_path / "directory")
        assert loose.exists()


async def test_fetched_refs_are_given_up_when_they_have_not_moved_for_long(tmp_path: Path) -> None:
    source = tmp_path / "source.git"
    async with Store.open(source, create=True) as other:
        await commit(other, "main", f=b"theirs")
    clock = Clock()
    async with opened(tmp_path / "db.git", clock) as (store, maintenance):
        fetched = await store.fetch(str(source), "refs/heads/main")
        await maintenance.take(Step.COLLECT)
        for _ in range(3):
            assert not await lost(store.path, fetched)
            clock.later += DAY + 1
            await maintenance.take(Step.COLLECT)
        assert not git(store.path, "for-each-ref", "refs/datakit/fetched/")
        assert await lost(store.path, fetched)
        assert await store.fetch(str(source), "refs/heads/main") == fetched


def is_alive(process: int) -> bool:
    """Whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another maintenance is at work."""
    with (path / "datakit.maintenance").open("w") as file:
        flock(file, LOCK_EX)
        yield


async def test_a_failure_is_told_and_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(tmp_path / "db.git", create=True) as store:
        for number in range(5):
            await commit(store, f"branch-{number}", f=b"1")
        with locked(store.path):
            maintenance = maintaining(store, BUSY, EAGER)
            it = await maintenance.__aenter__()
            refs = it.status.steps[Step.REFS]
            await until(lambda: refs.failed > 1)
        await until(lambda: refs.done > 0)
        await maintenance.__aexit__(None, None, None)
        assert (await asyncio.to_thread(it._survey, 0.0))[0].refs < 4
    assert "another maintenance" in caplog.text


async def test_a_full_disk_is_told_and_the_store_lives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 128\n")
    fake.chmod(0o755)
    async with Store.open(tmp_path / "db.git", create=True) as store:
        for number in range(5):
            await commit(store, f"branch-{number}", f=b"1")
        with monkeypatch.context() as patch:
            patch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
            async with maintaining(store, BUSY, EAGER) as it:
                await until(lambda: it.status.steps[Step.REFS].failed > 0)
        head = await commit(store, "main", f=b"2")
        assert files_of(store, head) == {"f": b"2"}
    assert "No space left on device" in caplog.text


async def test_leaving_ends_a_step_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(
        f"#!/bin/sh\necho $$ > {started}.part\nmv {started}.part {started}\nsleep 600\n"
    )
    fake.chmod(0o755)
    async with Store.open(tmp_path / "db.git", create=True) as store:
        for number in range(5):
            await commit(store, f"branch-{number}", f=b"1")
        monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
        async with maintaining(store, BUSY, EAGER):
            await until(started.exists)
    assert not is_alive(int(await asyncio.to_thread(started.read_text)))


def test_what_is_on_the_leash_ends_with_who_holds_it(tmp_path: Path) -> None:
    script = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    lock = str(tmp_path / "lock")
    command = [sys.executable, leash.__file__, lock, sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        second = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        assert second.returncode == leash.BUSY
        process.stdin.close()
        assert process.wait() != 0
        assert not is_alive(child)


async def test_the_command_does_everything_at_once(tmp_path: Path) -> None:
    path = tmp_path / "db.git"
    async with Store.open(path, create=True) as store:
        gone = await commit(store, "gone", f=b"gone")
        head = await commit(store, "main", f=b"kept")
        await store.remove_branch("gone")
    code, output, errors = await run("maintain", "--git", path, "--grace", "0s")
    assert (code, errors) == (0, "")
    assert "MB now" in output
    assert git(path, "rev-parse", "main") == head
    assert await lost(path, gone)
    assert not [*path.glob("objects/[0-9a-f][0-9a-f]/*")]
    git(path, "fsck", "--full", "--strict")
    code, _, errors = await run("maintain", "--git", path, "--grace", "soon")
    assert code == 2
    assert "--grace" in errors or "such as 2w" in errors


async def test_the_command_refuses_a_repository_that_a_server_has(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "db.git", create=True) as store:
        code, _, errors = await run("maintain", "--git", store.path)
    assert code == 2
    assert "is served by another DataKit" in errors


async def test_git_that_cannot_do_it_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path / "db.git") as (store, maintenance):
        head = await commit(store, "main", f=b"1")
        loose = store.path / "objects" / head[:2] / head[2:]
        loose.chmod(0o644)
        loose.write_bytes(b"damaged")
        with pytest.raises(StoreError, match="cannot pack"):
            await maintenance.take(Step.PACK)
        assert maintenance.status.steps[Step.PACK].failed == 1
