"""Results as commits: looking a build up before it is run, and recording it afterwards.

Each stage of a project has a branch ``results/PROJECT/STAGE``, and each result is a commit on it,
so that ``git log`` of that branch is the stage's history. The branch's tree is the index::

    ab/STATIC/trace/...             the decision tree of datakit_ci.trace
    ab/STATIC/runs/KEY/value/       the output tree
                       reports/     JUnit files, if there are any
                       log  failure  meta.json

``failure`` is there if and only if the build failed. An output without files has no ``value``, for
Git keeps no empty directories.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from datakit_ci.canonical import JsonValue
from datakit_ci.conditions import Sandbox
from datakit_ci.meta import Meta, duration
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.trace import (
    Ask,
    Observation,
    Question,
    QuestionKind,
    answer_digest,
    declared,
    parse_result,
    result_file,
    trace_key,
    tree_answer,
)
from datakit_core.client.api import BlobId, Database, Entry, FileMode, Transaction, TreeId
from datakit_core.errors import NoEntry, NotFastForward, StoreError
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Cache", "Finished"]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 16
_SHORT_LOG = 1 << 18
"""Bytes; longer logs would stall the event loop."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A build that has come to a result, about to be recorded.

    Attributes:
        need: What was asked for.
        build: Its name, as :meth:`Cache.name` gave it.
        outcome: What came of it.
        meta: Facts about the run.
        log: The file with all that it printed.
    """

    need: Build
    build: BuildId
    outcome: Outcome
    meta: Meta
    log: Path


class Cache:
    """The results in a database; the only writer of ``results/`` branches."""

    def __init__(self, database: Database) -> None:
        """Keep results in ``database``."""
        self._database = database
        self._locks = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def name(self, need: Build) -> BuildId:
        """The name of the build that answers ``need``, whether it was ever run or not."""
        key = trace_key(await self._observe(declared(need.spec), need.input))
        return _build_id(need, key)

    async def find(self, need: Build) -> BuildState | None:
        """The recorded build that answers ``need``: it saw what a new one would see.

        Costs as many questions of the input as the stage asks, however many results there are.
        """
        root = await self._root(_build_id(need, "").branch)
        if root is None:
            return None
        directory = _build_id(need, "").directory.removesuffix("/runs/")
        trace = await self._database.entry(root, f"{directory}/trace")
        if trace is None:
            return None
        try:
            key = await self._search(TreeId(trace.id), need.input)
        except StoreError as error:
            _log.warning("%s: %s; the stage runs again", directory, error)
            return None
        found = None if key is None else await self.read(_build_id(need, key))
        return found if found is not None and _is_sandboxed_enough(need, found) else None

    async def read(self, build: BuildId) -> BuildState | None:
        """A recorded build; none if there is no such, or if it is damaged."""
        run = await self._run(build)
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
        )

    async def log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """A recorded build's log from byte ``offset`` on, in pieces; nothing if there is none."""
        run = await self._run(build)
        entry = None if run is None else await self._database.entry(run, "log")
        if entry is not None:
            content = memoryview(await self._database.blob(BlobId(entry.id)))
            for start in range(offset, len(content), _CHUNK):
                yield bytes(content[start : start + _CHUNK])

    async def record(self, finished: Finished) -> None:
        """Commit a result; a result that was there under the same key is replaced.

        On a lost race (somebody else wrote to the branch) the change is applied again.
        """
        branch = finished.build.branch
        async with self._locks[branch]:
            while True:
                async with self._database.transaction(branch) as transaction:
                    await self._write(transaction, finished)
                    try:
                        await transaction.commit_if(transaction.base, _message(finished))
                    except NotFastForward:
                        continue
                    return

    async def _write(self, transaction: Transaction, finished: Finished) -> None:
        run = finished.build.directory
        outcome = finished.outcome
        if await transaction.entry(run) is not None:
            await transaction.remove(run)
        await transaction.write(f"{run}/meta.json", finished.meta.to_bytes())
        await self._write_log(transaction, f"{run}/log", finished.log)
        if outcome.failure is not None:
            await transaction.write(f"{run}/failure", f"{outcome.failure}\n".encode())
        elif outcome.output != EMPTY_TREE:
            await transaction.graft(f"{run}/value", Entry(FileMode.DIRECTORY, outcome.output))
        if outcome.reports is not None:
            await transaction.graft(f"{run}/reports", Entry(FileMode.DIRECTORY, outcome.reports))
        await self._write_trace(transaction, finished)

    async def _write_log(self, transaction: Transaction, path: str, log: Path) -> None:
        """Store a log; the database reads a long one itself, so that we never hold it."""
        if _size(log) <= _SHORT_LOG:
            await transaction.write(path, _content(log))
            return
        with TemporaryDirectory(dir=log.parent) as directory:
            alone = Path(directory) / "log"
            _link(log, alone)
            tree = await self._database.import_directory(alone.parent)
        entry = await self._database.entry(tree, alone.name)
        assert entry is not None
        await transaction.graft(path, entry)

    async def _write_trace(self, transaction: Transaction, finished: Finished) -> None:
        build = finished.build
        ask = declared(finished.need.spec)
        observations = await self._observe(ask, finished.need.input)
        answers = answer_digest([observation.answer for observation in observations])
        node = f"{build.directory.rpartition('/runs/')[0]}/trace/{ask.digest}"
        await transaction.write(f"{node}/ask", ask.to_bytes())
        await transaction.write(f"{node}/{answers}/result", result_file(build.key))

    async def _search(self, node: TreeId, given: TreeId) -> str | None:
        """Look below ``node`` for the key of a result whose questions ``given`` answers alike."""
        for entry in (await self._database.tree(node)).values():
            if not entry.is_directory:
                continue
            ask = Ask.from_bytes(await self._database.read(TreeId(entry.id), "ask"))
            observations = await self._observe(ask, given)
            answers = answer_digest([observation.answer for observation in observations])
            found = await self._database.entry(TreeId(entry.id), answers)
            if found is None:
                continue
            leaf = await self._database.entry(TreeId(found.id), "result")
            if leaf is not None:
                return parse_result(await self._database.blob(BlobId(leaf.id)))
            if (key := await self._search(TreeId(found.id), given)) is not None:
                return key
        return None

    async def _observe(self, ask: Ask, given: TreeId) -> Sequence[Observation]:
        return [
            Observation(question, await self._answer(question, given)) for question in ask.questions
        ]

    async def _answer(self, question: Question, given: TreeId) -> JsonValue:
        match question.kind:
            case QuestionKind.TREE | QuestionKind.FILE:
                return tree_answer(await self._database.entry(given, question.path))
            case kind:
                raise StoreError(f"a question of kind {kind.value}, which nobody asks yet")

    async def _root(self, branch: str) -> TreeId | None:
        head = await self._database.head(branch)
        return None if head is None else (await self._database.commit(head)).tree

    async def _run(self, build: BuildId) -> TreeId | None:
        root = await self._root(build.branch)
        entry = None if root is None else await self._database.entry(root, build.directory)
        return None if entry is None or not entry.is_directory else TreeId(entry.id)

    async def _text(self, blob: BlobId) -> str:
        return (await self._database.blob(blob)).decode(errors="replace").strip()


def _is_sandboxed_enough(need: Build, found: BuildState) -> bool:
    """Whether a result was made in a sandbox, if the stage asks for one.

    Such stages have results of their own; this is for those that others have put there.
    """
    used = found.details.get("sandbox", "none")
    return need.spec.conditions.sandbox is not Sandbox.YES or used != "none"


def _size(path: Path) -> int:
    return path.stat().st_size


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _link(path: Path, name: Path) -> None:
    name.hardlink_to(path)


def _build_id(need: Build, key: str) -> BuildId:
    return BuildId(need.project, need.spec.name, need.spec.static_digest(need.project), key)


def _message(finished: Finished) -> str:
    """``unit: passed in 3 s``, as ``git log`` shows it."""
    meta = finished.meta
    spent = duration(meta.started, meta.finished)
    if finished.outcome.failure is None:
        return f"{finished.build.stage}: passed in {spent}"
    return f"{finished.build.stage}: failed in {spent}: {finished.outcome.failure}"
