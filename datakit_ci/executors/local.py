"""The executor that is built in: each build is a child process on this machine.

A build has a directory of its own below the executor's (``tree`` is the checkout, ``home`` and
``tmp`` are the command's, ``outputs`` and ``reports`` what was found afterwards), which is removed
when the build ends. What a killed engine left there is removed at the next start. Only checkouts of
commands are kept, on a shelf: the next build of that kind writes only what differs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import datakit_core
from datakit_ci.canonical import digest
from datakit_ci.conditions import FACTS, Sandbox
from datakit_ci.containers import ENGINE_VARIABLES
from datakit_ci.executors.base import BuildRequest, LostBuild, TimedOut, Transient
from datakit_ci.executors.forking import ForkServer
from datakit_ci.executors.inspection import inspect
from datakit_ci.executors.protocol import Ending, Instruction, Verdict
from datakit_ci.executors.reusing import Reusing
from datakit_ci.executors.shelf import Shelf
from datakit_ci.outcome import Outcome
from datakit_ci.process import Command, Sink, Start, run_process
from datakit_ci.sandbox import HOME, TEMPORARY, sandbox_problem
from datakit_ci.spec import StageKind, StageSpec
from datakit_core.client.api import TreeId
from datakit_core.errors import InvalidArgument, InvalidName, TooLarge
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["DirectoryStore", "LocalExecutor"]

_log = logging.getLogger(__name__)

_SHELF = "kept"

_DOCKER = "datakit_ci.plugins.docker"
"""The module of the stages that work with a container engine."""

_LONGEST_REPORT = 64_000_000
"""Bytes: what a function has looked at is in it, and user code can write there, too."""

_MARGIN = 2.0
"""Seconds that the child has, after the grace, to kill what is below it."""


class DirectoryStore(Protocol):
    """What outputs are given to: any ``Database`` will do."""

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine."""
        ...


class LocalExecutor:
    """Runs builds as child processes; ``async with`` makes its directory ready."""

    name = "local"

    def __init__(
        self,
        database: DirectoryStore,
        repository: Path,
        pipeline: Path,
        directory: Path,
        *,
        grace: float = 5.0,
        hidden: Sequence[Path] = (),
    ) -> None:
        """Run builds of the pipeline in the file ``pipeline``.

        Args:
            database: Takes the outputs.
            repository: The same database's repository, from which the children read.
            pipeline: The file that functions are imported from.
            directory: Where builds get their directories; whatever is in it is removed.
            grace: Seconds between SIGTERM and SIGKILL when a build is stopped.
            hidden: What a sandbox must not show besides: files with keys, for example.
        """
        self._database = database
        self._repository = repository.absolute()
        self._pipeline = pipeline.absolute()
        self._directory = directory.absolute()
        self._grace = grace
        self._hidden = tuple(str(path.absolute()) for path in (repository, directory, *hidden))
        self._server = ForkServer()
        self._reusing = Reusing(self._server)
        self._shelf = Shelf(self._directory / _SHELF)
        self._problem: str | None = None  # why no sandbox can be had, once that is known

    async def __aenter__(self) -> Self:
        """Remove what an earlier engine left behind."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.name != _SHELF:
                await asyncio.to_thread(_remove, path)
        await asyncio.to_thread(self._shelf.recover)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the server that builds are forked from; each build cleans up after itself."""
        await self._reusing.close()
        await self._server.close()

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one build in a child process."""
        sandboxed = await self._sandboxed(request.spec.conditions.sandbox, log)
        directory = Path(tempfile.mkdtemp(dir=self._directory, prefix=""))
        kind = _kind(request) if _keeps(request.spec) else None
        done = False
        try:
            instruction = self._instruction(request, directory, sandboxed=sandboxed)
            if kind is not None:
                await asyncio.to_thread(self._shelf.take, kind, directory)
            ending = await self._supervised(instruction, log)
            outcome = await self._outcome(ending, request, instruction)
            done = True
            return outcome
        finally:
            await asyncio.to_thread(self._put_away, directory, kind if done else None)

    def _put_away(self, directory: Path, kind: str | None) -> None:
        """Keep a build's checkout, if it is of a kind that is kept, and remove the rest."""
        try:
            if kind is not None:
                self._shelf.give_back(kind, directory)
        finally:
            _remove(directory)

    async def _sandboxed(self, wanted: Sandbox, log: Sink) -> bool:
        """Whether to run a build in a sandbox.

        Raises:
            LostBuild: It must be, and cannot.
        """
        if wanted is Sandbox.NO:
            return False
        if self._problem is None:
            self._problem = await asyncio.to_thread(sandbox_problem)
        if not self._problem:
            return True
        if wanted is Sandbox.YES:
            raise LostBuild(f"cannot be run in a sandbox: {self._problem}")
        log(f"[datakit-ci] not in a sandbox: {self._problem}\n".encode())
        return False

    async def _supervised(self, instruction: Instruction, log: Sink) -> Ending:
        seconds = instruction.spec.timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._child(instruction, log)
        except TimeoutError:
            raise TimedOut(f"took longer than {seconds:g} s and was killed") from None

    async def _child(self, instruction: Instruction, log: Sink) -> Ending:
        report = bytearray()

        def take(data: bytes) -> None:
            if len(report) + len(data) > _LONGEST_REPORT:
                raise OSError("the build's process reports without end")
            report.extend(data)

        command = Command((), Path(instruction.directory), {}, instruction.encode())
        status = await run_process(
            command,
            stdout=take,
            stderr=log,
            grace=self._grace + _MARGIN,
            start=self._start_of(instruction.spec.kind),
        )
        # When a limit ends a command, the end of the command may still be reported after it.
        first, newline, _ = report.partition(b"\n")
        if not newline:
            raise LostBuild(f"the build's process ended with status {status} and no result")
        return Ending.decode(bytes(first))

    def _start_of(self, kind: StageKind) -> Start:
        """How a build of such a stage gets its process: user code in it needs one of its own."""
        return self._reusing.start if kind is StageKind.SHELL else self._server.start

    def _instruction(
        self, request: BuildRequest, directory: Path, *, sandboxed: bool
    ) -> Instruction:
        return Instruction(
            repository=str(self._repository),
            pipeline=str(self._pipeline),
            directory=str(directory),
            input=request.input,
            spec=request.spec,
            environment=_environment(request, directory, sandboxed=sandboxed),
            grace=self._grace,
            sandboxed=sandboxed,
            hidden=self._hidden if sandboxed else (),
        )

    async def _outcome(
        self, ending: Ending, request: BuildRequest, instruction: Instruction
    ) -> Outcome:
        if ending.verdict is Verdict.LOST:
            raise LostBuild(ending.reason)
        if ending.verdict is Verdict.TRANSIENT:
            raise Transient(ending.reason)
        failure = ending.reason if ending.verdict is Verdict.FAILED else None
        output, reports = EMPTY_TREE, EMPTY_TREE
        made = [Path(instruction.directory, part) for part in ("reports", "outputs")]
        limit = request.spec.conditions.output_limit
        problem = None
        if any(part.exists() for part in made):
            problem = await asyncio.to_thread(inspect, made, request.redaction, limit)
        try:
            if problem is None:
                reports = await self._import(made[0])
            if problem is None and failure is None:
                output = await self._import(made[1])
        except (InvalidArgument, InvalidName, TooLarge) as error:
            problem = f"its outputs cannot be stored: {error}"
        return Outcome(
            failure=problem or failure,
            output=output,
            reports=None if reports == EMPTY_TREE else reports,
            exit_status=ending.exit_status,
            details=(
                ("datakit", datakit_core.__version__),
                ("sandbox", _used(instruction)),
            ),
            questions=ending.questions,
        )

    async def _import(self, directory: Path) -> TreeId:
        if _is_empty(directory):
            return EMPTY_TREE
        return await self._database.import_directory(directory)


def _is_empty(directory: Path) -> bool:
    return not directory.is_dir() or not any(directory.iterdir())


def _keeps(spec: StageSpec) -> bool:
    """Whether a build's checkout is kept; a function has none, and starts in an empty directory.

    What a stranger's build has left is not for others to begin with, nor the other way round.
    """
    return spec.kind is StageKind.SHELL and not spec.conditions.untrusted


def _kind(request: BuildRequest) -> str:
    """Which checkouts are alike enough to begin with one another."""
    inputs = request.spec.inputs
    return digest({"project": request.build.project, "inputs": inputs and list(inputs)})[:16]


def _used(instruction: Instruction) -> str:
    """What is recorded of the sandbox."""
    if not instruction.sandboxed:
        return "none"
    return "bubblewrap with network" if instruction.spec.conditions.network else "bubblewrap"


def _environment(request: BuildRequest, directory: Path, *, sandboxed: bool) -> dict[str, str]:
    """What a build sees: the same on every machine, but for ``PATH`` and its directories.

    Nothing is in it that could make a result depend on what its key does not hold: neither the
    target nor the commit, unless the stage asks for those facts.

    If DataKit runs in a virtual environment, its programs are found first, as if that had been
    activated.
    """
    home, temporary = directory / "home", directory / "tmp"
    home.mkdir()
    temporary.mkdir()
    path = os.environ.get("PATH", os.defpath)
    if sys.prefix != sys.base_prefix:
        path = f"{sys.prefix}/bin{os.pathsep}{path}"
    return {
        "PATH": path,
        "HOME": HOME if sandboxed else str(home),
        "TMPDIR": TEMPORARY if sandboxed else str(temporary),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        # The checkout is no part of a repository outside.
        "GIT_CEILING_DIRECTORIES": "/" if sandboxed else str(directory),
        "CI": "true",
        "DATAKIT_CI": "1",
        "DATAKIT_PROJECT": request.build.project,
        "DATAKIT_STAGE": request.build.stage,
        **{FACTS[fact]: value for fact, value in request.spec.conditions.told},
        **_engine(request),
        **dict(request.spec.env),
        **request.secrets,
    }


def _engine(request: BuildRequest) -> dict[str, str]:
    """Which container engine there is, for stages whose work that is."""
    if request.spec.module != _DOCKER or request.spec.conditions.untrusted:
        return {}
    return {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ}


def _remove(path: Path) -> None:
    """Remove a directory, also if a build has taken away the right to write in it."""
    try:
        shutil.rmtree(path)
    except OSError:
        for directory, names, _ in os.walk(path):
            for name in (".", *names):
                _make_writable(Path(directory) / name)
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _log.warning("%s cannot be removed; remove it by hand", path)


def _make_writable(path: Path) -> None:
    if not path.is_symlink():
        with suppress(OSError):
            path.chmod(stat.S_IRWXU)
