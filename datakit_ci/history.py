"""The history of targets: ``status-…`` branches, one commit for each change of any job.

A status branch holds what its target had come to: ``source-commit``, ``metadata-commit`` and, for
each job, ``job/NAME/output``; and the graph as it stood then (:mod:`datakit_ci.picture`), whose
changes alone make no commit. The branch ``commit-index`` says which of these commits speak of a
given source commit: its file ``ab/SHA/STATUS-BRANCH`` names the newest.

Another engine, with other jobs, may write to the same branches: only files of our own jobs are
touched, and changes are merged by path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from datakit_ci.canonical import canonical_json
from datakit_ci.filing import blob_id, write_files
from datakit_ci.memory import MemoryTrees
from datakit_ci.picture import PICTURE, picture_files
from datakit_ci.state import BuildId, JobState, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import BlobId, CommitId, Database, Entry, ObjectId, TreeId
from datakit_core.store.objects import parse_id

__all__ = ["INDEX_BRANCH", "History", "job_output", "last_output"]

INDEX_BRANCH = "commit-index"

_VERSION = 1

_MOST = 1000
"""Sets of jobs whose tree is remembered, and jobs whose file is."""

_FAR_ENOUGH = 200
"""Commits of a status branch in which an old output is looked for."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What a commit of ours says, to find what has changed since without reading it.

    Attributes:
        commit: The commit.
        state: Its target's state.
        trees: The outputs of the builds.
    """

    commit: CommitId
    state: TargetState
    trees: Mapping[BuildId, TreeId]

    def changed(
        self, jobs: Iterable[JobState], trees: Mapping[BuildId, TreeId]
    ) -> Iterator[JobState]:
        """Those of ``jobs`` of which the commit says something else."""
        said = {job.name: job for job in self.state.jobs}
        for job in jobs:
            if said.get(job.name) != job or any(
                self.trees.get(build) != trees.get(build) for build in job.builds
            ):
                yield job


class History:
    """Writes what targets have come to; equal states make no commits."""

    def __init__(self, database: Database) -> None:
        """Write to ``database``."""
        self._database = database
        self._known_jobs: dict[object, ObjectId | None] = {}
        self._written: dict[Target, _Written] = {}

    async def record(
        self,
        state: TargetState,
        metadata: CommitId | None,
        trees: Mapping[BuildId, TreeId],
        head: CommitId | None = None,
    ) -> CommitId | None:
        """Commit ``state`` to its target's branch.

        Args:
            state: The newest state; its head must be known.
            metadata: The commit of ``github-metadata`` that it was worked out from.
            trees: The outputs of its builds, as far as there are any.
            head: The head of its branch a moment ago; none: it has to be read.

        Returns:
            The commit that says so, which is an old one if the jobs stood so already; none if
            there is nothing to say.
        """
        assert state.head is not None
        branch = state.target.status_branch
        head = await self._database.head(branch) if head is None else head
        files: dict[str, bytes | None] = {"source-commit": _line(state.head)}
        written = self._written.get(state.target)
        if written is None or written.commit != head:
            written = None
            source, jobs = (None, None) if head is None else await self._said(head)
            is_same = head is not None and jobs == self._jobs(state.jobs, trees)
            if is_same and source == blob_id(_line(state.head)):
                return head
            changed: Iterable[JobState] = () if is_same else state.jobs
        else:
            changed = list(written.changed(state.jobs, trees))
        for job in changed:
            files[f"job/{job.name}/output"] = job_output(job, trees)
        if not state.graph:
            files |= dict.fromkeys(PICTURE)
        extra = dict[str, bytes]()
        if written is None or written.state.graph != state.graph:
            extra |= picture_files(state.graph, [job.name for job in state.jobs])
        if metadata is not None:
            extra["metadata-commit"] = _line(metadata)
        commit = await write_files(self._database, branch, files, _message(state.jobs), extra)
        if commit is not None:
            self._written[state.target] = _Written(commit, state, trees)
        return commit or await self._database.head(branch)

    def forget(self, target: Target) -> None:
        """A target is gone."""
        self._written.pop(target, None)

    async def _said(self, head: CommitId) -> tuple[ObjectId | None, ObjectId | None]:
        """What a commit of a target's branch says, as two ids: its source commit, and all jobs."""
        entries = await self._database.tree((await self._database.commit(head)).tree)
        source, jobs = entries.get("source-commit"), entries.get("job")
        return (
            None if source is None else source.id,
            None if jobs is None else jobs.id,
        )

    def _jobs(self, jobs: tuple[JobState, ...], trees: Mapping[BuildId, TreeId]) -> ObjectId | None:
        """The tree ``job`` of a target with these jobs; thousands of targets have the same."""
        outputs = frozenset((build, trees.get(build)) for job in jobs for build in job.builds)
        key = jobs, outputs
        if key not in self._known_jobs:
            if len(self._known_jobs) >= _MOST:
                self._known_jobs.clear()
            memory, directories = MemoryTrees(), dict[str, bytes | str]()
            for job in jobs:
                directories[f"{job.name}/output"] = job_output(job, trees)
            self._known_jobs[key] = memory.add(directories) if directories else None
        return self._known_jobs[key]

    async def index(self, recorded: Mapping[Target, tuple[CommitId, CommitId]]) -> None:
        """Name states in the index, all in one commit.

        Also those that were recorded before: whoever recorded them may have been killed in
        between.

        Args:
            recorded: For each target its source commit, and the commit that records its state.
        """
        files = {
            f"{source[:2]}/{source}/{target.status_branch}": _line(commit)
            for target, (source, commit) in recorded.items()
        }
        await write_files(self._database, INDEX_BRANCH, files, "Index source commits")


def job_output(job: JobState, trees: Mapping[BuildId, TreeId]) -> bytes:
    """The content of ``job/NAME/output``.

    The result tree is named although the build says it too: the build may be pruned.
    """
    return _job_output(job, tuple(trees.get(build) for build in job.builds))


@lru_cache(maxsize=_MOST)
def _job_output(job: JobState, trees: Sequence[TreeId | None]) -> bytes:
    """As :func:`job_output`; of hundreds of jobs hardly any has changed."""
    return canonical_json(
        {
            "version": _VERSION,
            "result": {"status": job.status.value, "descr": job.description},
            "builds": [
                {
                    "project": build.project,
                    "stage": build.stage,
                    "static": build.static,
                    "key": build.key,
                    "tree": tree,
                }
                for build, tree in zip(job.builds, trees, strict=True)
            ],
        }
    )


async def last_output(
    database: Database, branch: str, stage: tuple[str, str, str]
) -> TreeId | None:
    """The newest output of a stage that a status branch knows of; none if there is none.

    Args:
        database: Where the branch is.
        branch: A target's.
        stage: Project, stage and static digest; another version of a stage is another stage.
    """
    head = await database.head(branch)
    if head is None:
        return None
    looked = 0
    async for commit in database.history(head):
        looked += 1
        jobs = await database.entry(commit.tree, "job")
        if jobs is not None and (found := await _output_in(database, jobs, stage)) is not None:
            return found
        if looked >= _FAR_ENOUGH:
            break
    return None


async def _output_in(
    database: Database, directory: Entry, stage: tuple[str, str, str]
) -> TreeId | None:
    """The output of ``stage`` in the jobs below a directory; a job's name may have slashes."""
    for name, entry in (await database.tree(TreeId(directory.id))).items():
        if entry.is_directory:
            if (found := await _output_in(database, entry, stage)) is not None:
                return found
        elif name == "output":
            for build in _builds_in(await database.blob(BlobId(entry.id))):
                match build:
                    case {"project": p, "stage": s, "static": k, "tree": str(tree)}:
                        if (p, s, k) == stage:
                            return TreeId(parse_id(tree))
                    case _:
                        pass
    return None


def _builds_in(content: bytes) -> Sequence[object]:
    """The builds that a job's output names; none if somebody has damaged it."""
    try:
        match json.loads(content):
            case {"builds": [*builds]}:
                return builds
            case _:
                return ()
    except ValueError:
        return ()


def _line(text: str) -> bytes:
    return f"{text}\n".encode()


def _message(jobs: Sequence[JobState]) -> str:
    """``lint: success, unit: running`` and so on: readable in ``git log``."""
    return ", ".join(f"{job.name}: {job.status.value}" for job in jobs) or "no jobs"
