"""What a run of a pipeline costs, as a command line: ``python -m bench commandline``.

200 trivial stages, each of which reads one small file and writes one: run for the first time, again
with nothing changed, and with one input changed. The peers keep their outputs in the working
directory, and most run the next stage in a process that is there already; ours runs each in a
process and a directory of its own, and stores result, log and facts in the database.

``DATAKIT_BENCH_STAGES`` says how many stages, ``DATAKIT_BENCH_PEERS`` where the peers are installed
(each in an environment of its own), and ``DATAKIT_BENCH_DIRECTORY`` where all of it works.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Directory, Tool, installed

__all__ = ["main"]

_STAGES = int(os.environ.get("DATAKIT_BENCH_STAGES", "200"))
_AT_ONCE = os.cpu_count() or 1
_ROUNDS = 3
"""Of what is quick: with nothing and with one input changed."""

_ROLES = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")

_FUNCTIONS = """
from datakit_ci import Config, Project, stage

@stage
def copy(source, number):
    return {{"out": source.read(f"in/{{number}}")}}

def jobs(target):
    return {{f"copy{{n}}": copy(target.source, number=n) for n in range({stages})}}

config = Config(projects=[Project("me/app", jobs)])
"""

_COMMANDS = """
from datakit_ci import Config, Project, shell

def jobs(target):
    return {{
        name: shell(name, f"cp in/{{n}} out", inputs=[f"in/{{n}}"], outputs=["out"])(target.source)
        for n in range({stages})
        for name in [f"copy{{n}}"]
    }}

config = Config(projects=[Project("me/app", jobs)])
"""


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds."""

    cold: float
    nothing: float
    one: float


def main() -> None:
    """Print the table."""
    peers = Path(
        os.environ.get("DATAKIT_BENCH_PEERS") or Path(tempfile.gettempdir(), "datakit-bench-peers")
    )
    tools = [*installed(peers), _ours("@stage functions", _FUNCTIONS), _ours("shell", _COMMANDS)]
    times: dict[str, _Times] = {}
    with tempfile.TemporaryDirectory(
        prefix="datakit-bench-", dir=os.environ.get("DATAKIT_BENCH_DIRECTORY")
    ) as scratch:
        for number, tool in enumerate(tools):
            times[tool.name] = _measure(tool, Path(scratch, str(number)))
    print(f"{_STAGES} stages, {_AT_ONCE} at once; ratios are to the first line\n")
    print(f"  {'':26}{'cold, ms a stage':>20}{'nothing changed, s':>22}{'one changed, s':>20}")
    first = next(iter(times.values()))
    for name, spent in times.items():
        print(
            f"  {name:26}{spent.cold / _STAGES * 1000:12.1f} {spent.cold / first.cold:6.1f}x"
            f"{spent.nothing:14.2f} {spent.nothing / first.nothing:6.1f}x"
            f"{spent.one:12.2f} {spent.one / first.one:6.1f}x"
        )


def _measure(tool: Tool, path: Path) -> _Times:
    directory = Directory(path, _STAGES, _AT_ONCE)
    (path / "in").mkdir(parents=True)
    for number in range(_STAGES):
        directory.write(f"in/{number}", f"{number}\n")
    command = tool.prepare(directory)
    cold = _timed(command, path)
    nothing = statistics.median(_timed(command, path) for _ in range(_ROUNDS))
    changed: list[float] = []
    for turn in range(_ROUNDS):
        directory.write("in/0", f"changed {turn}\n")
        changed.append(_timed(command, path))
    return _Times(cold, nothing, statistics.median(changed))


def _timed(command: Sequence[str], path: Path) -> float:
    started = time.perf_counter()
    _run(command, path)
    return time.perf_counter() - started


def _run(command: Sequence[str], path: Path) -> None:
    done = subprocess.run(
        command, cwd=path, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _environment() -> Mapping[str, str]:
    """Ours, so that a tool finds what it needs, and Git knows who commits."""
    who = dict.fromkeys((f"GIT_{role}" for role in _ROLES), "bench")
    return {**os.environ, **who, "DVC_NO_ANALYTICS": "1"}


def _ours(name: str, pipeline: str) -> Tool:
    def prepare(directory: Directory) -> Sequence[str]:
        directory.write("pipeline.py", pipeline.format(stages=directory.stages))
        for command in ["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "Begin"]:
            _run(["git", *command], directory.path)
        return [sys.executable, "-m", "datakit_ci", "run", "pipeline.py", "--once"]

    return Tool(f"datakit-ci run, {name}", prepare)
