"""Telling the world where jobs stand: statuses of commits, and the history of targets.

Changes are collected for a moment and written together, so that a job that runs for a few
milliseconds is one commit and not three. What is published is the newest state, not every state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from datakit_ci.filing import Folder, write_files
from datakit_ci.history import History
from datakit_ci.metadata import BRANCH, commit_path, job_context, job_status
from datakit_ci.pulse import Pulse
from datakit_ci.state import BuildId, JobState, TargetState
from datakit_ci.tally import Tally
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database, TreeId
from datakit_core.errors import (
    Disconnected,
    InvalidArgument,
    InvalidName,
    IsDirectory,
    NotDirectory,
)

__all__ = ["Published", "Publisher"]

_log = logging.getLogger(__name__)

_PAUSE = 0.05
"""Seconds in which changes are collected."""

_RETRY = 1.0
"""Seconds until the next attempt when the database did not take a batch."""

_MANY = 20
"""Targets from which on all heads are read at once."""

_LARGE = 20
"""Jobs of a target from which on their statuses are kept, for the next commit."""

_AT_ONCE = 8
"""Targets whose history is written at the same time."""

_IMPOSSIBLE = (InvalidArgument, InvalidName, IsDirectory, NotDirectory)
"""What no other attempt would mend: one job's files where another's directory is."""


@dataclass(frozen=True, slots=True)
class Published:
    """A target's state, with what its history records besides.

    Attributes:
        state: The state; its head is known.
        metadata: The commit of ``github-metadata`` that it was worked out from.
        trees: The outputs of its builds, as far as there are any.
    """

    state: TargetState
    metadata: CommitId | None
    trees: Mapping[BuildId, TreeId]


class Publisher:
    """Writes states that were marked as changed; :meth:`run` is its task."""

    def __init__(
        self,
        database: Database,
        base_url: str,
        neighbours: Callable[[CommitId], Iterable[TargetState]],
        tally: Tally | None = None,
    ) -> None:
        """Write to ``database``.

        Args:
            database: Where to.
            base_url: The dashboard's address; empty: there is none.
            neighbours: All targets at a source commit. A commit has one status for each job,
                whichever of them it was tested for: that of the first is shown.
            tally: Counts the commits of histories.
        """
        self._tally = tally or Tally()
        self._database = database
        self._base_url = base_url.rstrip("/")
        self._neighbours = neighbours
        self._history = History(database)
        self._folders: dict[Target, tuple[tuple[JobState, ...], Folder]] = {}
        self._marked: dict[Target, Published] = {}
        self._writing = False
        self._dropped: set[Target] = set()
        self._pulse = Pulse()

    @property
    def idle(self) -> bool:
        """Whether everything that was marked is written."""
        return not self._marked and not self._writing

    def mark(self, published: Published) -> None:
        """Publish this state soon, instead of an older one of the same target."""
        self._marked[published.state.target] = published
        self._dropped.discard(published.state.target)
        self._pulse.beat()

    def drop(self, target: Target) -> None:
        """Do not publish what was marked for ``target``: it is gone."""
        self._marked.pop(target, None)
        self._dropped.add(target)
        self._history.forget(target)
        self._folders.pop(target, None)

    async def run(self, settled: Callable[[], None]) -> None:
        """Write batches for ever; ``settled`` is called after each."""
        while True:
            while not self._marked:
                await self._pulse.next.wait()
            await asyncio.sleep(_PAUSE)
            batch, self._marked, self._dropped = self._marked, {}, set()
            self._writing = True
            try:
                await self._write(batch)
            finally:
                self._writing = False
            settled()

    async def _write(self, batch: Mapping[Target, Published]) -> None:
        """The boundary of a batch: one that cannot be written is tried again with the next."""
        limit = asyncio.Semaphore(_AT_ONCE)
        heads = await self._heads(batch)
        recorded: dict[Target, tuple[CommitId, CommitId]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for published in batch.values():
                    head = heads.get(published.state.target.status_branch)
                    group.create_task(self._record(published, head, limit, recorded))
            await self._history.index(recorded)
            await self._publish(batch.values())
        except* _IMPOSSIBLE:
            _log.exception("statuses cannot be written: a job has an impossible name")
        except* Disconnected as lost:
            _log.warning("%d targets wait for the database: %s", len(batch), lost.exceptions[0])
            await self._postpone(batch)
        except* Exception:  # noqa: BLE001 - the boundary: the traceback is logged
            _log.exception("the states of %d targets cannot be published yet", len(batch))
            await self._postpone(batch)

    async def _heads(self, batch: Mapping[Target, Published]) -> Mapping[str, CommitId]:
        """Of many branches, for a large batch; of a small one each is read when it is wanted."""
        return await self._database.branches() if len(batch) >= _MANY else {}

    async def _postpone(self, batch: Mapping[Target, Published]) -> None:
        """Publish ``batch`` with the next one, but for what is newer by then, or gone."""
        for target, published in batch.items():
            if target not in self._dropped:
                self._marked.setdefault(target, published)
        await asyncio.sleep(_RETRY)

    async def _record(
        self,
        published: Published,
        head: CommitId | None,
        limit: asyncio.Semaphore,
        recorded: dict[Target, tuple[CommitId, CommitId]],
    ) -> None:
        state, commit = published.state, None
        async with limit:
            try:
                commit = await self._history.record(
                    state, published.metadata, published.trees, head
                )
            except _IMPOSSIBLE:
                _log.exception("%s has a job with an impossible name", state.target.path)
        if commit is not None and state.head is not None:
            recorded[state.target] = state.head, commit
            self._tally.published += 1

    async def _publish(self, batch: Iterable[Published]) -> None:
        """Write the statuses of all commits of the batch in one commit."""
        files: dict[str, bytes | None] = {}
        folders: dict[str, Folder] = {}
        heads = {published.state.head for published in batch}
        for head in heads - {None}:
            assert head is not None
            states = sorted(self._neighbours(head), key=lambda state: state.target)
            if len(states) == 1 and len(states[0].jobs) >= _LARGE:
                project = states[0].target.project
                folders[commit_path(project, head)] = self._folder(states[0])
                continue
            for state in states:
                place = commit_path(state.target.project, head)
                for path, data in self._statuses(state).items():
                    files.setdefault(f"{place}/{path}", data)
        await write_files(self._database, BRANCH, files, "Update statuses", folders=folders)

    def _folder(self, state: TargetState) -> Folder:
        """The statuses of a commit; a head that moves mostly has those of the one before."""
        jobs, folder = self._folders.get(state.target, ((), None))
        if folder is None or jobs != state.jobs:
            folder = Folder(self._statuses(state))
            self._folders[state.target] = state.jobs, folder
        return folder

    def _statuses(self, state: TargetState) -> Mapping[str, bytes | None]:
        """The files that say where the jobs stand, by their paths in the commit's directory."""
        url = f"{self._base_url}/{state.target.path}" if self._base_url else ""
        files: dict[str, bytes | None] = {}
        for job in state.jobs:
            directory = f"status/{job_context(job.name)}"
            for name, data in job_status(job, url).files().items():
                files[f"{directory}/{name}"] = data
        return files
