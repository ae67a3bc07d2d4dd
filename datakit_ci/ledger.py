"""The ledger: what targets have come to, read back from their history in the database.

Whoever has the database, or a clone of it, can know where jobs stand without any engine; what
:mod:`datakit_ci.history` writes is read here. What an engine did not record yet is not there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from datakit_ci.state import BuildId, JobState, Status, TargetState
from datakit_ci.target import Target, decode_name
from datakit_core.client.api import BlobId, Commit, CommitId, Database, TreeId
from datakit_core.errors import ConfigError, DatakitError, StoreError
from datakit_core.store.objects import parse_id

__all__ = ["is_before", "read_state", "read_target", "recorded_targets", "states_of", "target_of"]

_PREFIX = "status-"


async def recorded_targets(database: Database) -> Sequence[Target]:
    """Every target that has a history, sorted."""
    return sorted(
        target for branch in await database.branches() if (target := target_of(branch)) is not None
    )


async def read_target(database: Database, target: Target) -> TargetState | None:
    """What is recorded of ``target``; none if nothing is. There is no graph, and no subject."""
    async for state in states_of(database, target):
        return state
    return None


async def states_of(database: Database, target: Target) -> AsyncIterator[TargetState]:
    """All that was ever recorded of ``target``, the newest first."""
    head = await database.head(target.status_branch)
    if head is not None:
        async for commit in database.history(head):
            yield await read_state(database, target, commit)


def is_before(state: TargetState, moment: datetime | None) -> bool:
    """Whether a state was recorded before ``moment`` for sure.

    The times of commits are whole seconds, rounded down.
    """
    if state.updated is None or moment is None:
        return False
    return state.updated + timedelta(seconds=1) <= moment


async def read_state(database: Database, target: Target, commit: Commit) -> TargetState:
    """What a commit of a target's history says of it; there is no graph, and no subject."""
    source: CommitId | None = None
    with suppress(DatakitError):
        text = (await database.read(commit.tree, "source-commit")).decode(errors="replace")
        source = CommitId(parse_id(text.strip()))
    jobs = await database.entry(commit.tree, "job")
    found: list[JobState] = []
    if jobs is not None and jobs.is_directory:
        found = [job async for job in _jobs(database, TreeId(jobs.id), "")]
    return TargetState(
        target,
        source,
        updated=datetime.fromtimestamp(commit.committer.time, UTC),
        jobs=tuple(found),
    )


async def _jobs(database: Database, directory: TreeId, prefix: str) -> AsyncIterator[JobState]:
    """The jobs below a directory, sorted; a job's name may have slashes. Damaged ones are not."""
    for name, entry in sorted((await database.tree(directory)).items()):
        if entry.is_directory:
            async for job in _jobs(database, TreeId(entry.id), f"{prefix}{name}/"):
                yield job
        elif name == "output" and prefix:
            with suppress(StoreError):
                yield _job(prefix.rstrip("/"), await database.blob(BlobId(entry.id)))


def _job(name: str, content: bytes) -> JobState:
    try:
        match json.loads(content):
            case {"result": {"status": str(status), "descr": str(said)}, "builds": [*builds]}:
                return JobState(name, Status(status), said, tuple(_build_ids(builds)))
            case _:
                raise StoreError("damaged output of a job: a field is missing")
    except ValueError as error:
        raise StoreError(f"damaged output of a job: {error}") from error


def _build_ids(builds: Sequence[object]) -> Iterator[BuildId]:
    for build in builds:
        match build:
            case {"project": str(p), "stage": str(s), "static": str(static), "key": str(key)}:
                yield BuildId(p, s, static, key)
            case _:
                pass


def target_of(branch: str) -> Target | None:
    """The target whose history is on ``branch``; none if it is another branch."""
    if not branch.startswith(_PREFIX):
        return None
    parts = decode_name(branch.removeprefix(_PREFIX))
    match parts:
        case (user, repository, *middle, name) if middle in (
            ["pr"],
            ["ref", "heads"],
            ["ref", "tags"],
        ):
            short = f"{middle[-1]}/{name}"
        case _:
            return None
    try:
        return Target.parse(f"{user}/{repository}", short)
    except ConfigError:
        return None
