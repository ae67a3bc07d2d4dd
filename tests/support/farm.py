"""A Dask cluster of real processes on loopback: a database, a scheduler, and workers of ours."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datakit_ci.crew import Crew
from datakit_ci.executors.base import BuildRequest
from datakit_ci.executors.dask.cluster import Cluster, Timing
from datakit_ci.executors.dask.code import PipelineCode
from datakit_ci.executors.dask.executor import DaskExecutor
from datakit_ci.executors.dask.security import Credentials
from datakit_ci.executors.dask.versions import Versions
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.api import TreeId
from datakit_core.client.reconnect import Backoff, ReconnectingDatabase, reconnecting
from tests.support.certificates import Identity
from tests.support.processes import Collector

__all__ = [
    "Certificates",
    "Farm",
    "Opened",
    "Parts",
    "Program",
    "begun",
    "command_request",
    "open_executor",
    "running_farm",
]

_CHECKOUT = Path(__file__).parents[2]

_PATIENCE = 50.0
"""Seconds for a program to say that it is ready, on a machine that does much else."""


class Program:
    """A process, and what it has said on its standard output and error."""

    def __init__(
        self,
        *command: str | Path,
        variables: Mapping[str, str] | None = None,
        directory: Path | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_CHECKOUT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment | dict(variables or {}),
            cwd=directory,
        )
        self._said = ""
        self._grown = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def said(self) -> str:
        """All of it, so far."""
        return self._said

    def until(self, pattern: str) -> str:
        """Wait until it has said this; the first group."""
        with self._grown:
            found = self._grown.wait_for(
                lambda: re.search(pattern, self._said) or self._ended, _PATIENCE
            )
            match = re.search(pattern, self._said)
        assert match is not None, (pattern, found, self._said)
        return match[1] if match.groups() else match[0]

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        status = self.process.wait(_PATIENCE)
        with self._grown:
            self._grown.wait_for(lambda: self._ended, 5)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                with self._grown:
                    self._said += line
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()


@dataclass(frozen=True, slots=True)
class Certificates:
    """Who vouches for the cluster, and what each part shows."""

    ca_file: Path
    own: Identity

    @property
    def options(self) -> list[str]:
        """For ``dask scheduler`` and ``datakit-ci worker`` alike."""
        own = ["--tls-cert", str(self.own.cert), "--tls-key", str(self.own.key)]
        return ["--tls-ca-file", str(self.ca_file), *own]

    @property
    def credentials(self) -> Credentials:
        """For an engine."""
        return Credentials(self.ca_file, self.own.cert, self.own.key)


@dataclass(slots=True)
class Parts:
    """The programs that a cluster is made of, wherever they run.

    Attributes:
        workers: By name.
    """

    workers: dict[str, Program] = field(default_factory=dict, init=False)
    _serving: Program | None = field(default=None, init=False)
    _scheduling: Program | None = field(default=None, init=False)

    def ready(self) -> None:
        """Wait until all workers work."""
        for name, worker in self.workers.items():
            worker.until(f"worker {name} at")

    def kill_scheduler(self) -> None:
        """As a machine ends."""
        assert self._scheduling is not None
        self._scheduling.kill()

    def kill_database(self) -> None:
        """As a machine ends."""
        assert self._serving is not None
        self._serving.kill()

    def worker_of(self, pid: int) -> str:
        """On which worker a build's process runs."""
        above = set()
        while pid > 1:
            above.add(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        (name,) = [name for name, each in self.workers.items() if each.process.pid in above]
        return name

    def close(self) -> None:
        """End all of it."""
        for program in (*self.workers.values(), self._scheduling, self._serving):
            if program is not None:
                program.kill()


@dataclass(slots=True)
class Farm(Parts):
    """The cluster.

    Attributes:
        directory: Where everything is.
        repositories: How many databases there were before this one.
        database: Its address.
        scheduler: Its address; the same after a restart.
        certificates: What they show; none: no TLS.
        settings: Variables for the scheduler.
    """

    directory: Path
    certificates: Certificates | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    repositories: int = 0
    database: str = ""
    scheduler: str = ""

    @property
    def repository(self) -> Path:
        """The database's, on this machine."""
        return self.directory / f"database{self.repositories}.git"

    def serve(self) -> None:
        """Start the database, or start it again."""
        self.database = f"unix://{self.directory}/socket"
        self._serving = Program(
            "datakit_core.cli", "--git", self.repository, "--listen-9p", self.database
        )
        self._serving.until("serving|unix://")

    def serve_anew(self) -> None:
        """Let an empty database take the place of the one that there was."""
        self.kill_database()
        self.repositories += 1  # the old one's writer may still be at work
        self.serve()

    def schedule(self) -> None:
        """Start the scheduler, or start it again at the same address."""
        protocol = "tcp" if self.certificates is None else "tls"
        port = self.scheduler.rpartition(":")[2] or "0"
        options = [] if self.certificates is None else self.certificates.options
        self._scheduling = Program(
            "dask", "scheduler", "--protocol", protocol, "--host", "127.0.0.1", "--port", port,
            "--dashboard-address", "127.0.0.1:0", *options, variables=self.settings,
        )  # fmt: skip
        self.scheduler = self._scheduling.until(rf"Scheduler at: +({protocol}://\S+)")

    def hire(self, name: str, pools: str = "cpu=2") -> Program:
        """Start a worker, or start it again."""
        options = [] if self.certificates is None else self.certificates.options
        self.workers[name] = Program(
            "datakit_ci", "worker", "--scheduler", self.scheduler,
            "--metadata-store", self.database, "--name", name, "--pools", pools,
            "--work", self.directory / name, *options,
        )  # fmt: skip
        return self.workers[name]


@contextmanager
def running_farm(
    directory: Path,
    workers: Mapping[str, str],
    certificates: Certificates | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Farm]:
    """A cluster whose workers have these names and pools."""
    farm = Farm(directory, certificates, settings or {})
    try:
        farm.serve()
        farm.schedule()
        for name, pools in workers.items():
            farm.hire(name, pools)
        farm.ready()
        yield farm
    finally:
        farm.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine's side of a farm."""

    database: ReconnectingDatabase
    cluster: Cluster
    executor: DaskExecutor

    async def until(self, condition: Callable[[Crew], bool]) -> None:
        """Wait until a look at who works shows what is wanted."""
        while True:
            looked = asyncio.Event()
            self.cluster.listen(lambda _, looked=looked: looked.set())  # type: ignore[misc]
            if condition(self.cluster.crew):
                return
            looked.clear()
            await looked.wait()


@asynccontextmanager
async def open_executor(
    farm: Farm, pipeline: Path, versions: Versions | None = None
) -> AsyncIterator[Opened]:
    """Connect to a farm, with little patience; as another version, if that is given."""
    backoff = Backoff(0.05, 0.2)
    credentials = Credentials() if farm.certificates is None else farm.certificates.credentials
    cluster = Cluster(
        farm.scheduler,
        credentials.security("client", farm.scheduler),
        Timing(connect=20.0, look=0.2, backoff=backoff),
    )
    cluster.versions = versions or cluster.versions
    async with reconnecting(farm.database, backoff=backoff) as database, cluster.running():
        code = PipelineCode(database, pipeline)
        yield Opened(database, cluster, DaskExecutor(cluster, database, code.origin, backoff))


def command_request(text: str, tree: TreeId, *, key: str = "1", **options: object) -> BuildRequest:
    """A build of a command, as an engine would ask for it."""
    spec = StageSpec("stage", StageKind.SHELL, text, "0" * 64, **options)  # type: ignore[arg-type]
    return BuildRequest(BuildId("me/app", "stage", "0" * 64, key * 64), spec, tree)


async def begun(
    tasks: asyncio.TaskGroup, executor: DaskExecutor, request: BuildRequest, log: Collector
) -> tuple[asyncio.Task[Outcome], int]:
    """Begin a build whose command first prints its process; the task, and that process."""
    running = tasks.create_task(executor.run(request, log))
    while not (line := await log.line()).isdecimal():
        continue
    return running, int(line)
