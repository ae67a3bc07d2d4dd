"""The process in which one build runs: ``python -m datakit_ci.executors.child``.

It makes the input appear, runs the command or the function, finds the outputs, and reports. User
code is never run by the engine itself: it may block, crash, or never end.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datakit_ci.executors.adapters import Awaited, Finished, finish
from datakit_ci.executors.kept import KeptCheckout
from datakit_ci.executors.limits import LimitWatch, apply_limits, disk_is_full
from datakit_ci.executors.protocol import Ending, Instruction, Verdict
from datakit_ci.executors.shelf import MANIFEST, TREE
from datakit_ci.executors.supervision import Stopped, Supervision, sweep, wait_for_all
from datakit_ci.executors.workspace import ObjectReader, Workspace
from datakit_ci.lookup import TreeReader
from datakit_ci.memory import narrow
from datakit_ci.sandbox import Confinement
from datakit_ci.spec import StageKind
from datakit_core.client.api import ObjectId, TreeId
from datakit_core.store import open_reader

__all__ = ["STOPPED", "Build", "give_up", "main", "read_line", "take_pipes", "write_all"]

_TRACE = "PS4='\033]133;A\007+ ';"
"""Put before a command that may say ``set -x``: marks what the shell traces for who folds the log.

The mark is that of a prompt (OSC 133, from FinalTerm); terminals know it or ignore it.
"""

STOPPED = 128 + signal.SIGTERM
"""The exit status of a build's process that was told to stop."""

_SUBMODULE = re.compile(r"^\s*path\s*=\s*(\S.*?)\s*$", re.MULTILINE)


def main() -> int:
    """Do what standard input says; the exit status is of no interest to the engine."""
    life_line, report = take_pipes()
    instruction = Instruction.decode(read_line(life_line))
    supervision = Supervision(instruction.grace)
    try:
        supervision.begin(life_line)
        apply_limits()
        LimitWatch().begin(instruction.spec.conditions, lambda text: give_up(report, text))
        ending = Build(instruction, supervision).run()
        write_all(report, ending.encode())
    except Stopped:
        wait_for_all()
        return STOPPED
    return 0


def give_up(report: int, problem: str) -> None:
    """End everything now, ourselves included: user code may be in our own process."""
    os.write(report, Ending(Verdict.LOST, problem).encode())
    sweep()
    os.killpg(0, signal.SIGKILL)


def take_pipes() -> tuple[int, int]:
    """Keep the pipes to the engine for us; user code gets no input, and the log as its output."""
    life_line, report = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return life_line, report


def read_line(descriptor: int) -> bytes:
    """Read the engine's one line."""
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(descriptor, 1 << 16)
        if not more:
            sys.exit("the engine is gone")
        data += more
    return data


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _end_what_is_left() -> None:
    """Kill what the stage has left running, and say so in the log."""
    if left := sweep():
        what = "1 process was" if left == 1 else f"{left} processes were"
        os.write(2, f"[datakit-ci] {what} left behind and killed\n".encode())


class Build:
    """The work itself."""

    def __init__(self, instruction: Instruction, supervision: Supervision) -> None:
        """Do what ``instruction`` says."""
        self._instruction = instruction
        self._spec = instruction.spec
        self._supervision = supervision
        self._directory = Path(instruction.directory)

    def run(self) -> Ending:
        """Run the stage; whatever goes wrong is in the log and in the ending."""
        try:
            stored = Awaited(open_reader(Path(self._instruction.repository)))
            if self._spec.kind is StageKind.PIPELINE:
                return self._draft(Finished(stored))
            reader, tree = finish(narrow(stored, self._instruction.input, self._spec.inputs))
            if self._spec.kind is StageKind.PYTHON:
                return self._function(reader, tree, self._pipeline(Finished(stored)))
            return self._command(Finished(reader), tree)
        except Exception as error:  # noqa: BLE001 - the boundary of a build: user code may raise all
            traceback.print_exc()
            return Ending(Verdict.LOST, f"{type(error).__name__}: {error}")

    def _draft(self, reader: ObjectReader) -> Ending:
        from datakit_ci.executors.drafting import draft  # a command's process needs none of it

        instruction = self._instruction
        ending = draft(
            self._spec, reader, instruction.input, self._directory, instruction.environment
        )
        _end_what_is_left()
        return ending

    def _pipeline(self, reader: ObjectReader) -> Path:
        """The pipeline's file: the service's own, or one from a tree."""
        if not self._spec.origin:
            return Path(self._instruction.pipeline)
        from datakit_ci.executors.drafting import lay_out

        tree, _, path = self._spec.origin.partition(":")
        return lay_out(reader, TreeId(ObjectId(tree)), path, self._directory / "pipeline")

    def _function(self, reader: TreeReader, tree: TreeId, pipeline: Path) -> Ending:
        # Imported late: a command's process needs neither asyncio nor the pipeline.
        from datakit_ci.executors.function import enter, run_function

        # Without the tree's id: whoever has that has looked at all of the tree.
        enter(self._directory / "tree", self._instruction.environment)
        ending = run_function(pipeline, self._spec, reader, tree, self._directory / "outputs")
        _end_what_is_left()
        return ending

    def _command(self, reader: ObjectReader, tree: TreeId) -> Ending:
        environment = {"DATAKIT_TREE": tree, **self._instruction.environment}
        workspace: Workspace = KeptCheckout(
            reader, tree, self._directory / TREE, self._directory / MANIFEST
        )
        workspace.prepare()
        _note_submodules(workspace.directory)
        status = self._shell(workspace.directory, environment)
        # Before outputs are looked for: it may still write them.
        if self._instruction.sandboxed:
            sweep()  # the sandbox ends what is left, but its own first process is still about to
        else:
            _end_what_is_left()
        workspace.collect(self._spec.reports, self._directory / "reports")
        if status and disk_is_full(self._directory):
            return Ending(Verdict.LOST, f"failed with status {status}: the disk is full", status)
        ending = _failed(status) if status else self._collect(workspace)
        return replace(ending, questions=workspace.observations)

    def _shell(self, directory: Path, environment: Mapping[str, str]) -> int:
        _show_command(self._spec.command)
        with subprocess.Popen(
            self._arguments(),
            cwd=directory,
            env=environment,
            process_group=0,  # so that "kill 0" in a script is no suicide of ours
        ) as process:
            self._supervision.command_group = process.pid
            status = process.wait()
            self._supervision.command_group = None
            return status

    def _arguments(self) -> list[str]:
        trace = _TRACE if "set -" in self._spec.command else ""
        command = ["/bin/sh", "-c", trace + self._spec.command]
        if not self._instruction.sandboxed:
            return command
        hidden = [Path(path) for path in self._instruction.hidden]
        network = self._spec.conditions.network
        return Confinement(self._directory, network, hidden).arguments(command)

    def _collect(self, workspace: Workspace) -> Ending:
        missing = workspace.collect(self._spec.outputs, self._directory / "outputs")
        if missing:
            reason = f"made no {', '.join(missing)}, which it declares as outputs"
            return Ending(Verdict.FAILED, reason, exit_status=0)
        return Ending(Verdict.PASSED, exit_status=0)


def _show_command(command: str) -> None:
    first, *more = command.strip().splitlines() or [""]
    lines = [f"$ {first}", *(f"> {line}" for line in more)]
    os.write(2, ("\n".join(lines) + "\n").encode(errors="replace"))


def _note_submodules(checkout: Path) -> None:
    """Say in the log which submodules are not there; gitmodules(5) says where they are named."""
    file = checkout / ".gitmodules"
    if not file.is_file() or file.is_symlink():
        return
    paths = _SUBMODULE.findall(file.read_text(errors="replace"))
    if paths:
        told = f"[datakit-ci] left out: the submodules {', '.join(paths)}\n"
        os.write(2, told.encode(errors="replace"))


def _failed(status: int) -> Ending:
    """What a status other than 0 means; negative: killed by that signal."""
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return Ending(Verdict.FAILED, f"exited with status {status}", status)
    if number == signal.SIGKILL:  # nothing that a command does to itself: most often, no memory
        return Ending(Verdict.LOST, "killed by SIGKILL: was the memory short?", status)
    return Ending(Verdict.FAILED, f"killed by {name}", status)


if __name__ == "__main__":
    sys.exit(main())
