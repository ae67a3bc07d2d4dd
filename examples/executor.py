"""An executor in one file: runs commands in a directory of this machine, and nothing else.

It is what ``docs/executors.md`` explains. Put it in the place of the one that is built in::

    Engine(database, config, PlainExecutor(database), Path("logs"))
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from datakit_ci.disk import write_file
from datakit_ci.executors.base import BuildRequest, LostBuild, TimedOut
from datakit_ci.executors.inspection import inspect
from datakit_ci.lookup import TreeReader, check_path
from datakit_ci.memory import narrow
from datakit_ci.outcome import Outcome
from datakit_ci.process import Command, Sink, run_process
from datakit_ci.spec import StageKind, StageSpec
from datakit_core.client.api import BlobId, Database, TreeId

__all__ = ["PlainExecutor"]


class PlainExecutor:
    """Checks the input out, runs the command, and stores the files that it declares."""

    name = "plain"

    def __init__(self, database: Database) -> None:
        """Read inputs from ``database``, and store outputs there."""
        self._database = database

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one build; when it is cancelled, nothing of it is left."""
        spec = request.spec
        if spec.kind is not StageKind.SHELL:
            raise LostBuild(f"{spec.name} is a function: this executor runs only commands")
        with tempfile.TemporaryDirectory(prefix="build-", ignore_cleanup_errors=True) as name:
            checkout, outputs = Path(name, "tree"), Path(name, "outputs")
            reader, tree = await narrow(self._database, request.input, spec.inputs)
            await _check_out(reader, tree, checkout)
            if status := await _run(request, checkout, log):
                return Outcome(failure=f"exited with status {status}", exit_status=status)
            problem = _collect(checkout, spec, outputs)
            if problem is None:  # a secret in an output could never be taken out of the history
                problem = inspect([outputs], request.redaction, spec.conditions.output_limit)
            if problem is not None:
                return Outcome(failure=problem, exit_status=status)
            made = await self._database.import_directory(outputs)
            return Outcome(output=made, exit_status=status)


async def _check_out(reader: TreeReader, tree: TreeId, directory: Path) -> None:
    await asyncio.to_thread(directory.mkdir)
    for name, entry in (await reader.tree(tree)).items():
        path = directory / check_path(name)  # never "..", whatever the tree holds
        if entry.is_directory:
            await _check_out(reader, TreeId(entry.id), path)
        else:
            data = await reader.blob(BlobId(entry.id))
            await asyncio.to_thread(write_file, path, entry.mode, data)


async def _run(request: BuildRequest, checkout: Path, log: Sink) -> int:
    """The command's exit status; its processes are in a group, which ends with it."""
    known = {"PATH": os.environ["PATH"], "HOME": str(checkout.parent), "LANG": "C.UTF-8"}
    environment = {**known, **dict(request.spec.env), **request.secrets}
    command = Command(("/bin/sh", "-c", request.spec.command), checkout, environment)
    try:
        async with asyncio.timeout(request.spec.timeout):
            return await run_process(command, stdout=log, stderr=log)
    except TimeoutError:
        raise TimedOut(f"took longer than {request.spec.timeout:g} s and was killed") from None


def _collect(checkout: Path, spec: StageSpec, outputs: Path) -> str | None:
    """Move the declared files into ``outputs``; what is missing, if anything is."""
    outputs.mkdir()
    for path in spec.outputs:
        if not (checkout / path).exists():
            return f"made no {path}, which it declares as output"
        (outputs / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).rename(outputs / path)
    return None
