"""Results as commits: looking a build up before it is run, and recording it afterwards.

Each stage of a project has a branch ``results/PROJECT/STAGE``, and each result is a commit on it,
so that ``git log`` of that branch is the stage's history. The branch's tree is the index::

    ab/STATIC/trace/...             the decision tree of datakit_ci.trace
    ab/STATIC/runs/KEY/value/       the output tree
                       reports/     JUnit files, if there are any
                       log  times.json  failure  meta.json  trace

``failure`` is there if and only if the build failed. An output without files has no ``value``, for
Git keeps no empty directories. ``trace`` says where below ``trace/`` the tree leads to the result.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from datakit_ci.conditions import Sandbox
from datakit_ci.decisions import add_result, find_results, observe, read_trace
from datakit_ci.lending import Lender
from datakit_ci.logtimes import LogTimes
from datakit_ci.memory import narrow
from datakit_ci.meta import Meta, duration
from datakit_ci.misses import first_difference
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.trace import Asker, Observation, declared, trace_key
from datakit_core.client.api import (
    BlobId,
    CommitId,
    Database,
    Entry,
    FileMode,
    Transaction,
    TreeId,
)
from datakit_core.client.pieces import pieces_of
from datakit_core.errors import Disconnected, NoEntry, NotDirectory, NotFastForward, StoreError
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Cache", "Finished"]

_log = logging.getLogger(__name__)

_PAUSE = 0.2
"""Seconds until the next attempt when the database went away; its client waits for it as well."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A build that has come to a result, about to be recorded.

    Attributes:
        need: What was asked for.
        build: Its name, as :meth:`Cache.name` gave it.
        outcome: What came of it.
        meta: Facts about the run.
        log: The file with all that it printed.
        times: When it printed that, if anybody looked at a clock.
    """

    need: Build
    build: BuildId
    outcome: Outcome
    meta: Meta
    log: Path
    times: LogTimes | None = None


class Cache:
    """The results in a database; the only writer of ``results/`` branches."""

    def __init__(self, database: Database, lender: Lender | None = None) -> None:
        """Keep results in ``database``; those that ``lender`` has elsewhere are copied."""
        self._database = database
        self._lender = lender
        self._locks = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def name(self, need: Build) -> BuildId:
        """The name of the build that answers ``need``, whether it was ever run or not.

        It depends on all that the build could look at: what it will look at is not known yet. A
        trace may lead other inputs to the same result.
        """
        asker = Asker(self._database, need.input)
        return _build_id(need, trace_key(await asker.observe(declared(need.spec).questions)))

    async def find(self, need: Build) -> BuildState | None:
        """The recorded build that answers ``need``: it saw what a new one would see.

        Costs as many questions of the input as the stage asks, however many results there are.
        """
        found = await self._find(need)
        if found is None and await self._borrow(need):
            found = await self._find(need)
        return found

    @property
    def borrows(self) -> bool:
        """Whether results that are not here may be found elsewhere."""
        return self._lender is not None

    async def _borrow(self, need: Build) -> bool:
        """Copy a result from elsewhere, if there is one."""
        return self._lender is not None and (await self._lender.lend(need, await self._asker(need)))

    async def _find(self, need: Build) -> BuildState | None:
        root = await self.root(_build_id(need, "").branch)
        return None if root is None else await self.find_in(root, need)

    async def find_in(self, root: TreeId, need: Build) -> BuildState | None:
        """The recorded build in the tree ``root`` of the stage's branch."""
        directory = _trace(_build_id(need, ""))
        trace = await self._database.entry(root, directory)
        if trace is None:
            return None
        asker = await self._asker(need)
        try:
            async with aclosing(find_results(self._database, TreeId(trace.id), asker)) as results:
                async for key, asked in results:
                    found = await self.read_in(root, _build_id(need, key))
                    if found is not None and _is_sandboxed_enough(need, found):
                        return found.having_asked(asked)
        except StoreError as error:
            _log.warning("%s: %s; the stage runs again", directory, error)
        return None

    async def why_not(self, need: Build) -> str:
        """Why :meth:`find` finds nothing: what is another one than at the build most like it."""
        branch = _build_id(need, "").branch
        root = await self.root(branch)
        if root is None:
            return "it has never run"
        trace = await self._database.entry(root, _trace(_build_id(need, "")))
        if trace is None:
            return "its code, command or parameters have changed"
        try:
            difference = await first_difference(
                self._database, TreeId(trace.id), await self._asker(need)
            )
        except (StoreError, NoEntry) as error:
            return str(error)
        return "its result is damaged or gone" if difference is None else str(difference)

    async def read(self, build: BuildId) -> BuildState | None:
        """A recorded build; none if there is no such, or if it is damaged."""
        root = await self.root(build.branch)
        return None if root is None else await self.read_in(root, build)

    async def read_in(self, root: TreeId, build: BuildId) -> BuildState | None:
        """A build as the tree ``root`` of its stage's branch records it; as :meth:`read`."""
        run = await self._run_in(root, build)
        if run is None:
            return None
        try:
            meta = Meta.from_bytes(await self._database.read(run, "meta.json"))
            failure = await self._database.entry(run, "failure")
            value = await self._database.entry(run, "value")
            reason = "" if failure is None else await self._text(BlobId(failure.id))
        except (StoreError, NoEntry) as error:
            _log.warning("%s/%s: %s; it runs again", build.branch, build.directory, error)
            return None
        if value is not None and not value.is_directory:
            _log.warning("%s/%s: damaged value; it runs again", build.branch, build.directory)
            return None
        output = EMPTY_TREE if value is None else TreeId(value.id)
        return BuildState(
            id=build,
            status=Status.SUCCESS if failure is None else Status.FAILURE,
            reason=reason,
            command=meta.command,
            input=meta.input,
            output=output if failure is None else None,
            queued=meta.queued,
            started=meta.started,
            finished=meta.finished,
            exit_status=meta.exit_status,
            log_size=meta.log_size,
            details={"executor": meta.executor, **meta.details},
            occasion=meta.occasion,
        )

    async def observations(self, build: BuildId) -> Sequence[Observation] | None:
        """What a recorded build looked at; none if that is not recorded, or damaged."""
        root = await self.root(build.branch)
        return None if root is None else await self.observations_in(root, build)

    async def observations_in(self, root: TreeId, build: BuildId) -> Sequence[Observation] | None:
        """As :meth:`observations`, in the tree ``root`` of the stage's branch."""
        way = await self._database.entry(root, f"{build.directory}/trace")
        tree = await self._database.entry(root, _trace(build))
        if way is None or tree is None or not tree.is_directory:
            return None
        try:
            text = await self._text(BlobId(way.id))
            return await read_trace(self._database, TreeId(tree.id), text)
        except (StoreError, NoEntry) as error:
            _log.warning("%s/%s: %s", build.branch, build.directory, error)
            return None

    async def log(self, build: BuildId, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """A recorded build's log from byte ``offset`` on, in pieces; nothing if there is none."""
        run = await self._run(build)
        entry = None if run is None else await self._database.entry(run, "log")
        if entry is not None:
            pieces = self._database.stream_blob(BlobId(entry.id), offset)
            async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)):
                async for piece in pieces:
                    yield piece

    async def log_times(self, build: BuildId) -> LogTimes | None:
        """When a recorded build wrote its log; none if that is not recorded, or damaged."""
        run = await self._run(build)
        entry = None if run is None else await self._database.entry(run, "times.json")
        if entry is None:
            return None
        try:
            return LogTimes.from_bytes(await self._database.blob(BlobId(entry.id)))
        except StoreError as error:
            _log.warning("%s/%s: %s", build.branch, build.directory, error)
            return None

    async def record(self, finished: Finished) -> None:
        """Commit a result; a result that was there under the same key is replaced.

        On a lost race (somebody else wrote to the branch) the change is applied again; so it is
        when the database went away meanwhile, unless it had taken the commit.
        """
        branch = finished.build.branch
        observations = await self._observations(finished)
        async with self._locks[branch]:
            lost = False
            while not (lost and await self._is_recorded(finished)):
                try:
                    await self._commit(finished, observations)
                except NotFastForward:
                    continue
                except Disconnected as error:
                    _log.warning("%s waits for the database: %s", finished.build.stage, error)
                    lost = True
                    await asyncio.sleep(_PAUSE)
                else:
                    return

    async def _is_recorded(self, finished: Finished) -> bool:
        """Whether this very run is recorded: its commit may be there although nobody said so."""
        run = await self._run(finished.build)
        meta = None if run is None else await self._database.entry(run, "meta.json")
        return meta is not None and (
            await self._database.blob(BlobId(meta.id)) == finished.meta.to_bytes()
        )

    async def _commit(self, finished: Finished, observations: Sequence[Observation]) -> None:
        async with self._database.transaction(finished.build.branch) as transaction:
            try:
                await self._write(transaction, finished)
            except NotDirectory:
                await _make_way(transaction, finished.build.directory)
                await self._write(transaction, finished)
            trace = _trace(finished.build)
            leaf = await add_result(transaction, trace, observations, finished.build.key)
            way = leaf.removeprefix(f"{trace}/")
            await transaction.write(f"{finished.build.directory}/trace", f"{way}\n".encode())
            await transaction.commit_if(transaction.base, _message(finished))

    async def _write(self, transaction: Transaction, finished: Finished) -> None:
        run = finished.build.directory
        outcome = finished.outcome
        if await transaction.entry(run) is not None:
            await transaction.remove(run)
        await transaction.write(f"{run}/meta.json", finished.meta.to_bytes())
        await transaction.write_stream(f"{run}/log", pieces_of(finished.log))
        if finished.times is not None:
            await transaction.write(f"{run}/times.json", finished.times.to_bytes())
        if outcome.failure is not None:
            await transaction.write(f"{run}/failure", f"{outcome.failure}\n".encode())
        elif outcome.output != EMPTY_TREE:
            await transaction.graft(f"{run}/value", Entry(FileMode.DIRECTORY, outcome.output))
        if outcome.reports is not None:
            await transaction.graft(f"{run}/reports", Entry(FileMode.DIRECTORY, outcome.reports))

    async def _observations(self, finished: Finished) -> Sequence[Observation]:
        """What the build looked at, with the answers that it got."""
        questions = finished.outcome.questions
        if questions is None:
            questions = declared(finished.need.spec).questions
        return await observe(await self._asker(finished.need), questions)

    async def _asker(self, need: Build) -> Asker:
        """Asks of what the build sees: a function sees a tree with its declared inputs only.

        A command's questions name these inputs, and have the same answers in the whole tree.
        """
        if need.spec.kind is StageKind.SHELL:
            return Asker(self._database, need.input)
        return Asker(*await narrow(self._database, need.input, need.spec.inputs))

    async def root(self, branch: str) -> TreeId | None:
        """The tree of a stage's branch as it is now; none if there is no such branch."""
        return await self.root_at(await self._database.head(branch))

    async def root_at(self, head: CommitId | None) -> TreeId | None:
        """The tree of a stage's branch whose head this is; none if there is no head."""
        return None if head is None else (await self._database.commit(head)).tree

    async def _run(self, build: BuildId) -> TreeId | None:
        root = await self.root(build.branch)
        return None if root is None else await self._run_in(root, build)

    async def _run_in(self, root: TreeId, build: BuildId) -> TreeId | None:
        entry = await self._database.entry(root, build.directory)
        return None if entry is None or not entry.is_directory else TreeId(entry.id)

    async def _text(self, blob: BlobId) -> str:
        return (await self._database.blob(blob)).decode(errors="replace").strip()


async def _make_way(transaction: Transaction, directory: str) -> None:
    """Remove the file that somebody has put where a directory above ``directory`` belongs."""
    names = directory.split("/")
    for depth in range(1, len(names)):
        above = "/".join(names[:depth])
        if await transaction.entry(above) not in (None, FileMode.DIRECTORY):
            _log.warning("%s was a file: damaged by hand?", above)
            await transaction.remove(above)
            return


def _is_sandboxed_enough(need: Build, found: BuildState) -> bool:
    """Whether a result was made in a sandbox, if the stage asks for one.

    Such stages have results of their own; this is for those that others have put there.
    """
    used = found.details.get("sandbox", "none")
    return need.spec.conditions.sandbox is not Sandbox.YES or used != "none"


def _build_id(need: Build, key: str) -> BuildId:
    return BuildId(need.project, need.spec.name, need.spec.static_digest(need.project), key)


def _trace(build: BuildId) -> str:
    """Where the decision tree of the stage of ``build`` lies."""
    return f"{build.directory.rpartition('/runs/')[0]}/trace"


def _message(finished: Finished) -> str:
    """``unit: passed in 3 s``, as ``git log`` shows it, and who wanted it once more."""
    meta = finished.meta
    spent = duration(meta.started, meta.finished)
    user = meta.details.get("rebuilt by")
    more = f"\n\nRebuild by {user}\n" if user else ""
    if finished.outcome.failure is None:
        return f"{finished.build.stage}: passed in {spent}{more}"
    return f"{finished.build.stage}: failed in {spent}: {finished.outcome.failure}{more}"
