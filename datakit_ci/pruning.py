"""Dropping results that the pipeline's rule does not keep, while the engine runs.

A branch of results loses the runs and what in its decision trees leads to them. Then it gets a
commit without parents, so that its history holds on to nothing; the repository's maintenance
reclaims the space. Both are compare-and-swap: who records a result at the same moment does so
again, and when a ref has moved, the rest waits for the next time. Readers that look at an older
commit keep it until the maintenance's grace is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from datakit_ci.cache import Cache
from datakit_ci.docket import Docket
from datakit_ci.project import Config
from datakit_ci.results import Results, StageResults, runs_of
from datakit_ci.retention import superfluous
from datakit_ci.state import BuildId
from datakit_ci.tally import Tally
from datakit_ci.trace import parse_result
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import DatakitError, HeadMoved, NotFastForward, StoreError

__all__ = ["ForgetfulDatabase", "Pruner"]

_log = logging.getLogger(__name__)

_INTERVAL = 3600.0
"""Seconds from one pruning to the next."""

_NEVER = datetime.min.replace(tzinfo=UTC)

_RULINGS = timedelta(days=30)
"""How long it is remembered what people have decided about builds that are not shown any more."""


class ForgetfulDatabase(Protocol):
    """A database that can let go of a branch's history."""

    async def forget_history(self, branch: str, head: CommitId, message: str) -> CommitId:
        """Make a commit without parents, of the same tree, the head instead of ``head``.

        Raises:
            HeadMoved: The branch has another head.
        """
        ...


class Pruner:
    """Drops results; :meth:`run` is its task."""

    def __init__(
        self,
        database: Database,
        wanted: Callable[[], Collection[BuildId]],
        *,
        forgetful: ForgetfulDatabase | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tally: Tally | None = None,
    ) -> None:
        """Prune ``database``.

        Args:
            database: Where the results are.
            wanted: The builds that targets show now, running ones included.
            forgetful: The same database, if it can let go of history; else that stays.
            now: The clock.
            tally: Counts what is dropped.
        """
        self._tally = tally or Tally()
        self._database = database
        self._results = Results(database)
        self._cache = Cache(database)
        self._wanted = wanted
        self._forgetful = forgetful
        self._now = now

    async def run(self, config: Callable[[], Config]) -> None:
        """Prune now and every hour, by what ``config`` says then."""
        while True:
            try:
                await self.prune(config())
            except Exception:  # noqa: BLE001 - a service's boundary: the traceback is logged
                _log.exception("results cannot be pruned; trying again in %g s", _INTERVAL)
            await asyncio.sleep(_INTERVAL)

    async def prune(self, config: Config) -> int:
        """Drop what the rules of ``config``'s projects do not keep; how many results that were."""
        count = 0
        await self._forget_rulings()
        for project in config.projects:
            if (project.retention or config.retention) is not None:
                for stage in await self._results.stages(project.id):
                    count += await self._prune(stage, config)
        return count

    async def _forget_rulings(self) -> None:
        """Drop what people have decided long ago about builds that nobody shows any more.

        Such builds get no result, with which these would go: what was cancelled stays so.
        """
        docket = Docket(self._database, lambda _: None)
        await docket.load()
        before, wanted = self._now() - _RULINGS, self._wanted()
        rulings = docket.rulings
        kinds = (rulings.cancelled, rulings.confirmed, rulings.rebuilt)
        await docket.clear(
            {
                build
                for kind in kinds
                for build, ruling in kind.items()
                if ruling.time < before and build not in wanted
            }
        )

    async def _prune(self, stage: StageResults, config: Config) -> int:
        """Prune one stage; what is in the way there does not keep others from being pruned."""
        try:
            return await self._drop(stage, config)
        except (HeadMoved, NotFastForward):
            _log.debug("%s has moved; it is pruned the next time", stage.branch)
        except DatakitError as error:
            _log.warning("%s cannot be pruned: %s", stage.branch, error)
        return 0

    async def _drop(self, stage: StageResults, config: Config) -> int:
        project = config.project(stage.project)
        rule = config.retention if project is None else project.retention or config.retention
        assert rule is not None, "prune has looked"
        finished = await self._finished(stage)
        gone = superfluous(finished, rule, self._wanted(), self._now())
        if not gone:
            return 0
        message = f"{stage.stage}: drop {len(gone)} of {len(finished)} results"
        async with self._database.transaction(stage.branch) as transaction:
            if transaction.base != stage.head:
                return 0  # the next time
            for path in await self._paths(stage, finished, gone):
                await transaction.remove(path)
            head = await transaction.commit_if(stage.head, message)
        self._tally.dropped += len(gone)
        _log.info("%s: %s", stage.project, message)
        if self._forgetful is not None:
            kept = f"{stage.stage}: {len(finished) - len(gone)} results are kept"
            await self._forgetful.forget_history(stage.branch, head, kept)
        return len(gone)

    async def _finished(self, stage: StageResults) -> Mapping[BuildId, datetime]:
        """When each result was made; one that cannot be read is the first to go."""
        found: dict[BuildId, datetime] = {}
        async for build in runs_of(self._database, stage):
            state = await self._cache.read(build)
            found[build] = (state and state.finished) or _NEVER
        return found

    async def _paths(
        self, stage: StageResults, all_: Collection[BuildId], gone: Collection[BuildId]
    ) -> list[str]:
        """What to remove: runs, and what leads to nothing else; or all that a code came to."""
        root = (await self._database.commit(stage.head)).tree
        kept = {build.static for build in all_ if build not in gone}
        paths: list[str] = []
        for static in sorted({build.static for build in gone}):
            directory = f"{static[:2]}/{static}"
            if static not in kept:
                paths.append(directory)
                continue
            paths += [build.directory for build in gone if build.static == static]
            keys = {build.key for build in gone if build.static == static}
            trace = await self._database.entry(root, f"{directory}/trace")
            if trace is not None and trace.is_directory:
                dead = await self._dead(TreeId(trace.id), keys)
                paths += [f"{directory}/trace/{path}".removesuffix("/") for path in dead]
        return paths

    async def _dead(self, node: TreeId, keys: Collection[str]) -> list[str]:
        """The paths below ``node`` that lead only to ``keys``; ``""`` is all of it."""
        paths: list[str] = []
        alive = False
        for name, entry in (await self._database.tree(node)).items():
            if entry.is_directory:
                below = await self._dead(TreeId(entry.id), keys)
                paths += [f"{name}/{path}".removesuffix("/") for path in below]
                alive = alive or below != [""]
            elif name == "result":
                if await self._leads_to(BlobId(entry.id), keys):
                    paths.append(name)
                else:
                    alive = True
        return paths if alive else [""]

    async def _leads_to(self, blob: BlobId, keys: Collection[str]) -> bool:
        try:
            return parse_result(await self._database.blob(blob)) in keys
        except StoreError:
            return True  # damaged: nothing is found by it
