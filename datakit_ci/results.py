"""The results in a database, as people look at them: listed, found by name, and compared.

A result's name is ``USER/REPO/STAGE@STATIC/KEY``, with as many digits of both as tell it apart;
without ``@`` it is the newest result of the stage. The address of its page is a name as well.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datakit_ci.cache import Cache
from datakit_ci.lookup import check_path
from datakit_ci.meta import duration
from datakit_ci.state import BuildId, BuildState
from datakit_ci.target import decode_name
from datakit_core.client.api import BlobId, Change, CommitId, Database, FileMode, TreeId
from datakit_core.errors import ConfigError, NoEntry, UnknownObject
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Comparison", "Results", "StageResults", "result_name", "runs_of"]

_PREFIX = "results/"
_DIGITS = 7
"""Of an id, as they are shown: as many as Git shows of a commit."""

_LONGEST_LOG = 1 << 20
"""Bytes of a log that is compared line by line; the time for longer ones is not bounded."""

_NAME = re.compile(
    r"(?P<project>[^/@]+/[^/@]+)/(?P<stage>[^@]+?)"
    r"(?:@(?:(?P<static>[0-9a-f]+)/)?(?P<key>[0-9a-f]+)"
    r"|/(?P<whole>[0-9a-f]{64})/(?P<wholekey>[0-9a-f]{64}))?\Z"
)


@dataclass(frozen=True, slots=True)
class StageResults:
    """The branch with the results of a stage.

    Attributes:
        project, stage: Whose results they are.
        branch: Its name.
        head: The newest commit.
    """

    project: str
    stage: str
    branch: str
    head: CommitId


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two results.

    Attributes:
        facts: What is recorded of both, as far as it differs: before and after, by name.
        inputs: Files that differ in what they were given; none: an input is no longer there.
        outputs: Files that differ in what they made.
        log: The lines that differ, as diff(1) shows them.
    """

    facts: Mapping[str, tuple[str, str]]
    inputs: Sequence[Change] | None
    outputs: Sequence[Change]
    log: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether both came to the same: status, reason and output. Times and logs never are."""
        return not self.outputs and not self.facts.keys() & {"status", "reason"}


def result_name(build: BuildId) -> str:
    """A short name of a result, which may be given back."""
    short = f"{build.static[:_DIGITS]}/{build.key[:_DIGITS]}"
    return f"{build.project}/{build.stage}@{short}"


async def runs_of(database: Database, stage: StageResults) -> AsyncIterator[BuildId]:
    """All results on a stage's branch, in no particular order."""
    root = (await database.commit(stage.head)).tree
    for entry in (await database.tree(root)).values():
        codes = await database.tree(TreeId(entry.id)) if entry.is_directory else {}
        for static, below in codes.items():
            runs = await database.entry(TreeId(below.id), "runs") if below.is_directory else None
            if runs is not None and runs.is_directory:
                for key in await database.tree(TreeId(runs.id)):
                    yield BuildId(stage.project, stage.stage, static, key)


class Results:
    """Reads results."""

    def __init__(self, database: Database) -> None:
        """Read from ``database``."""
        self._database = database
        self._cache = Cache(database)

    async def stages(self, project: str = "", stage: str = "") -> Sequence[StageResults]:
        """The stages that have results, sorted; those of a project, or one of them."""
        found: list[StageResults] = []
        for branch, head in (await self._database.branches()).items():
            parts = branch.removeprefix(_PREFIX).split("/")
            if not branch.startswith(_PREFIX) or len(parts) != 2:
                continue
            owner, name = "/".join(decode_name(parts[0])), "-".join(decode_name(parts[1]))
            if project in ("", owner) and stage in ("", name):
                found.append(StageResults(owner, name, branch, head))
        return sorted(found, key=lambda each: (each.project, each.stage))

    async def newest(self, project: str = "", stage: str = "") -> Sequence[BuildState]:
        """The results of a project or stage, or all, newest first; damaged ones are left out."""
        states: list[BuildState] = []
        for each in await self.stages(project, stage):
            read = [await self._cache.read(build) async for build in runs_of(self._database, each)]
            states += [state for state in read if state is not None]
        return sorted(states, key=_age)

    async def find(self, name: str) -> BuildState:
        """The result that ``name`` names.

        Raises:
            ConfigError: It is no name, or several results have it.
            NoEntry: There is no such result.
        """
        match = _NAME.match(name.removeprefix("build/"))
        if match is None:
            raise ConfigError(f"{name!r} is no result; write USER/REPO/STAGE, or ...@STATIC/KEY")
        static = match["static"] or match["whole"] or ""
        key = match["key"] or match["wholekey"] or ""
        found = [
            state
            for state in await self.newest(match["project"], match["stage"])
            if state.id.static.startswith(static) and state.id.key.startswith(key)
        ]
        if not found:
            raise NoEntry(f"there is no result {name}; datakit-ci results list shows all")
        if key and len(found) > 1:
            names = ", ".join(f"{each.id.static[:12]}/{each.id.key[:12]}" for each in found[:5])
            raise ConfigError(f"{name} may be any of {names}; give more digits")
        return found[0]

    def stream_log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        """All that a build printed, in pieces."""
        return self._cache.log(build)

    async def log(self, build: BuildId) -> bytes:
        """All that a build printed."""
        return b"".join([piece async for piece in self._cache.log(build)])

    async def compare(self, old: BuildState, new: BuildState) -> Comparison:
        """What differs from one result to another."""
        before, after = _facts(old), _facts(new)
        return Comparison(
            facts={
                name: (before.get(name, ""), after.get(name, ""))
                for name in {**before, **after}
                if before.get(name) != after.get(name)
            },
            inputs=await self._changes(old.input, new.input),
            outputs=await self._changes(old.output, new.output) or (),
            log=_log_lines(await self.log(old.id), await self.log(new.id)),
        )

    async def check_out(self, state: BuildState, directory: Path) -> int:
        """Write what a build made into ``directory``, and count the files.

        Raises:
            ConfigError: Something is in the directory, or it cannot be written.
            NoEntry: The build failed, so it made nothing.
        """
        if state.output is None:
            raise NoEntry(f"{result_name(state.id)} failed: {state.reason}")
        try:
            if not await asyncio.to_thread(_make_empty, directory):
                raise ConfigError(f"{directory} is not empty; name one that is not there")
            return await self._write(state.output, directory)
        except OSError as error:
            raise ConfigError(f"cannot write to {directory}: {error.strerror}") from error

    async def _write(self, tree: TreeId, directory: Path) -> int:
        """Write one directory and all below it; nothing is written through a link."""
        count = 0
        for name, entry in (await self._database.tree(tree)).items():
            path = directory / check_path(name)
            if entry.is_directory:
                await asyncio.to_thread(path.mkdir)
                count += await self._write(TreeId(entry.id), path)
                continue
            content = await self._database.blob(BlobId(entry.id))
            await asyncio.to_thread(_create, path, content, entry.mode)
            count += 1
        return count

    async def _changes(self, old: TreeId | None, new: TreeId | None) -> Sequence[Change] | None:
        try:
            return await self._database.diff(old or EMPTY_TREE, new or EMPTY_TREE)
        except UnknownObject:
            return None


def _make_empty(directory: Path) -> bool:
    """Make a directory; no if there is one with something in it."""
    directory.mkdir(parents=True, exist_ok=True)
    return not any(directory.iterdir())


def _create(path: Path, content: bytes, mode: FileMode) -> None:
    if mode is FileMode.LINK:
        path.symlink_to(os.fsdecode(content))
        return
    with path.open("xb") as file:
        file.write(content)
        if mode is FileMode.EXECUTABLE:
            path.chmod(path.stat().st_mode | 0o111)


def _age(state: BuildState) -> float:
    """For sorting: newest first."""
    return -(state.finished or datetime.min.replace(tzinfo=UTC)).timestamp()


def _facts(state: BuildState) -> Mapping[str, str]:
    """What is recorded of a build, as text by name."""
    spent = duration(state.started, state.finished) if state.started and state.finished else ""
    return {
        "status": state.status.value,
        "reason": state.reason,
        "code": state.id.static[:12],
        "command": state.command,
        "input": state.input or "",
        "exit status": "" if state.exit_status is None else str(state.exit_status),
        "took": spent,
        **state.details,
    }


def _log_lines(old: bytes, new: bytes) -> Sequence[str]:
    if old == new:
        return ()
    if max(len(old), len(new)) > _LONGEST_LOG:
        return (f"the logs differ, and are too long to show how: {len(old)} and {len(new)} bytes",)
    before, after = (each.decode(errors="replace").splitlines() for each in (old, new))
    return list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=2))
