"""Keeping a repository quick and small while it is served, by Git's own commands.

One step at a time, at the lowest priority, in processes that end with this one. Whatever else
writes to the repository meanwhile, our writer or another Git process, is safe: Git's commands
take the locks that all keep to, and our writer never relies on a pack for what it writes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from datakit_core import leash
from datakit_core.errors import StoreError
from datakit_core.store.git import OPTIONS, GitFailed, end_process, environment, reason, run_git
from datakit_core.store.housekeeping import (
    MARKS,
    Facts,
    Limits,
    Ref,
    Step,
    encode_mark,
    expired_fetches,
    mark_time,
    next_step,
    parse_refs,
    time_of_grace,
)
from datakit_core.store.refs import FETCHED
from datakit_core.store.store import Store

__all__ = ["Maintenance", "MaintenanceStatus", "Pace", "maintaining"]

_log = logging.getLogger(__name__)

_LOCK = "datakit.maintenance"
_FANOUT = 256
_SAMPLE = "17"
"""The directory of loose objects that is counted; ids are random, so one speaks for all."""

_SMALL = ("-c", "pack.threads=1", "-c", "pack.windowMemory=256m", "-c", "gc.cruftPacks=true")
_PACK = ("repack", "-d", "-l", "-q", "--geometric=2", "--no-write-bitmap-index")
_REFS = ("pack-refs", "--all")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, and how patient to be, in seconds.

    Attributes:
        look: Between two looks.
        first: From the first failure to the next attempt; doubles with each further one.
        longest: The most that it doubles to.
    """

    look: float = 5.0
    first: float = 60.0
    longest: float = 3600.0


@dataclass(slots=True)
class Outcomes:
    """What became of a step.

    Attributes:
        done: How often it went well.
        failed: How often it failed.
        seconds: How long the last one took.
        finished: When the last one went well, in seconds since 1970; 0 if none did.
    """

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    finished: float = 0.0


@dataclass(slots=True)
class MaintenanceStatus:
    """Plain numbers about the maintenance of a repository.

    Attributes:
        facts: What was found by the last look.
        free: Bytes that the disk has left for us.
        steps: What became of each kind of step.
    """

    facts: Facts = field(default_factory=Facts)
    free: int = 0
    steps: dict[Step, Outcomes] = field(default_factory=lambda: {step: Outcomes() for step in Step})


@asynccontextmanager
async def maintaining(
    store: Store, limits: Limits | None = None, pace: Pace | None = None
) -> AsyncIterator[Maintenance]:
    """Maintain the repository of ``store`` until the context is left.

    Args:
        store: An open database.
        limits: When something is to be done.
        pace: How often to look.
    """
    maintenance = Maintenance(store, limits, pace)
    tasks = asyncio.TaskGroup()  # by hand, as it would wrap what goes wrong in the caller's block
    await tasks.__aenter__()
    running = tasks.create_task(maintenance.run())
    try:
        yield maintenance
    finally:
        running.cancel()
        await tasks.__aexit__(None, None, None)


class Maintenance:
    """The maintenance of one repository.

    Attributes:
        status: What it has found and done.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Do nothing yet; see :func:`maintaining`."""
        self.status = MaintenanceStatus()
        self._store, self._clock = store, clock
        self._limits, self._pace = limits or Limits(), pace or Pace()
        self._unpackable = 0

    async def run(self) -> None:
        """Look, and do what is due, until cancelled; failures are logged and repeated."""
        pause = self._pace.first
        step: Step | None = None
        while True:
            if step is None:
                await asyncio.sleep(self._pace.look)
            try:
                step = next_step(await self.look(), self._limits)
                if step is not None:
                    await self.take(step)
            except (StoreError, OSError) as error:
                _log.warning("maintenance failed, next attempt in %.0f s: %s", pause, error)
            except Exception:  # noqa: BLE001 - the boundary of a task that must go on
                _log.exception("maintenance failed, next attempt in %.0f s", pause)
            else:
                pause = self._pace.first
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pace.longest)

    async def look(self) -> Facts:
        """Find the facts, in a thread."""
        oldest = self._store.oldest_transaction
        self.status.facts, self.status.free = await asyncio.to_thread(self._survey, oldest)
        return self.status.facts

    async def take_all(self) -> None:
        """Take every step now, due or not; raises as :meth:`take`."""
        await self.look()
        for step in Step:
            await self.take(step)

    async def take(self, step: Step) -> None:
        """Take a step now.

        Raises:
            StoreError: Git could not do it, or another maintenance is at work.
        """
        outcomes, start = self.status.steps[step], time.monotonic()
        failure: StoreError | GitFailed | OSError | None = None
        try:
            await self._perform(step)
        except (StoreError, GitFailed, OSError) as error:
            failure = error
        outcomes.seconds = time.monotonic() - start
        await self._store.reopen()  # whatever it did before it failed
        if failure is not None:
            outcomes.failed += 1
            if isinstance(failure, GitFailed):
                text = f"cannot {step.value} {self._store.path}: {failure}"
                raise StoreError(text) from failure
            raise failure
        outcomes.done, outcomes.finished = outcomes.done + 1, self._clock()
        _log.info("maintenance: %s took %.1f s", step.value, outcomes.seconds)

    async def _perform(self, step: Step) -> None:
        match step:
            case Step.PACK:
                await self._run(*_PACK)
                self._unpackable = (await self.look()).loose
            case Step.REFS:
                await self._run(*_REFS)
            case Step.COLLECT:
                await self._collect()

    def _survey(self, oldest_transaction: float) -> tuple[Facts, int]:
        path = self._store.path
        marks = [float(name) for name in _names(path / MARKS) if name.isdecimal()]
        marks += [float(ref.rpartition("/")[2]) for ref in self._packed_marks()]
        facts = Facts(
            loose=len(_names(path / "objects" / _SAMPLE)) * _FANOUT,
            packs=sum(name.endswith(".pack") for name in _names(path / "objects" / "pack")),
            refs=_count_files(path / "refs", self._limits.refs),
            unpackable=self._unpackable,
            last_mark=max(self._clock() - max(marks), 0.0) if marks else None,
            oldest_transaction=oldest_transaction,
        )
        disk = os.statvfs(path)
        return facts, disk.f_bavail * disk.f_frsize

    def _packed_marks(self) -> list[str]:
        try:
            packed = (self._store.path / "packed-refs").read_bytes()
        except FileNotFoundError:
            return []
        names = [line[41:].decode() for line in packed.split(b"\n") if MARKS.encode() in line]
        return [name for name in names if name.removeprefix(MARKS).isdecimal()]

    async def _collect(self) -> None:
        """Drop what nobody has needed for long; see :mod:`datakit_core.store.housekeeping`."""
        now = int(self._clock())
        grace = time_of_grace(self.status.facts, self._limits)
        refs = await self._refs()
        marks = {made: ref for ref in refs if (made := mark_time(ref)) is not None}
        expired = [ref for made, ref in marks.items() if made <= now - grace]
        if marks:
            ref = marks[max(marks)]
            message = await run_git(self._store.path, "log", "-1", "--format=%B", ref.name)
            expired += expired_fetches(refs, message)
        await self._mark(refs, now)
        await self._remove(expired)
        if not marks and grace > 0:
            return  # nothing is known of the past
        await self._run(
            "repack", "-d", "-l", "-q", "--cruft", f"--cruft-expiration={int(now - grace)}",
            "--no-write-bitmap-index",
        )  # fmt: skip
        await self._run("prune", f"--expire={int(now - grace)}")

    async def _refs(self) -> list[Ref]:
        form = "--format=%(objectname) %(objecttype) %(refname)"
        return parse_refs(await run_git(self._store.path, "for-each-ref", form))

    async def _mark(self, refs: list[Ref], now: int) -> None:
        data = encode_mark(refs, self._store.transaction_bases, FETCHED, now)
        path = self._store.path
        await run_git(path, "hash-object", "-t", "tree", "-w", "--stdin", given=b"")
        mark = await run_git(path, "hash-object", "-t", "commit", "-w", "--stdin", given=data)
        await run_git(path, "update-ref", f"{MARKS}{now}", mark.strip())

    async def _remove(self, refs: list[Ref]) -> None:
        commands = "".join(f"delete {ref.name}\0{ref.id}\0" for ref in refs)
        given = commands.encode(errors="surrogateescape")
        await run_git(self._store.path, "update-ref", "-z", "--stdin", given=given)

    async def _run(self, *arguments: str) -> None:
        """Run Git at the lowest priority, on a leash."""
        path = self._store.path
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", leash.__file__, path / _LOCK,
            "git", *OPTIONS, *_SMALL, f"--git-dir={path}", *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )  # fmt: skip
        assert process.stderr is not None, "it is a pipe"
        try:
            errors = await process.stderr.read()
            await process.wait()
        finally:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.close()
            await end_process(process)
        if process.returncode == leash.BUSY:
            raise StoreError(f"another maintenance of {path} has not ended yet")
        if process.returncode != 0:
            said = reason(errors) or f"it ended with {process.returncode}"
            raise GitFailed(f"git {arguments[0]}: {said}", "")


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return []


def _count_files(directory: Path, most: int) -> int:
    """How many files are below ``directory``, as far as it is worth knowing."""
    files = (name for _, _, names in os.walk(directory) for name in names)
    return sum(1 for _ in islice(files, most))
