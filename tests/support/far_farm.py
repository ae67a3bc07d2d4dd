"""A cluster whose parts are machines of a laboratory's network, and the service on one of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from datakit_ci.state import BuildId
from datakit_core.client import connect
from tests.support.farm import Parts, Program
from tests.support.git import commit_file
from tests.support.laboratory import Laboratory, laboratory
from tests.support.processes import Collector
from tests.support.service import RunningService, service_command, started_service

__all__ = [
    "WORKERS",
    "Beacon",
    "FarFarm",
    "Result",
    "Scene",
    "beacon",
    "far_farm",
    "result_of",
    "serving",
]

WORKERS = ("one", "two")


@dataclass(slots=True)
class FarFarm(Parts):
    """The cluster.

    Attributes:
        network: Its network, with the machines scheduler, database, engine, one and two.
        directory: Where everything is.
        patience: Of the service and the workers, in seconds.
        settings: Variables for the scheduler.
    """

    network: Laboratory
    directory: Path
    patience: float
    settings: Mapping[str, str]

    @property
    def database(self) -> str:
        """Its address."""
        return f"tcp://{self.network.address('database')}:5640"

    @property
    def scheduler(self) -> str:
        """Its address."""
        return f"tcp://{self.network.address('scheduler')}:8786"

    def serve(self) -> None:
        """Start the database, or start it again."""
        self._serving = Program(
            "datakit_core.cli", "--git", self.directory / "database.git",
            "--listen-9p", self.database, "--allow-fetch", f"file:{self.directory}/**",
            inside=self.network.inside("database"),
        )  # fmt: skip
        self._serving.until(r"tcp://\S+")

    def schedule(self) -> None:
        """Start the scheduler, or start it again."""
        self._scheduling = Program(
            "dask", "scheduler", "--host", self.network.address("scheduler"), "--port", "8786",
            "--dashboard-address", "127.0.0.1:0",
            variables=self.settings, inside=self.network.inside("scheduler"),
        )  # fmt: skip
        self._scheduling.until(r"Scheduler at: +tcp")

    def hire(self, name: str) -> None:
        """Start a worker, or start it again."""
        self.workers[name] = Program(
            "datakit_ci", "worker", "--scheduler", self.scheduler, "--name", name,
            "--metadata-store", self.database, "--pools", "cpu=2",
            "--work", self.directory / name, "--patience", f"{self.patience:g}",
            inside=self.network.inside(name),
        )  # fmt: skip


@contextmanager
def far_farm(directory: Path, patience: float, settings: Mapping[str, str]) -> Iterator[FarFarm]:
    """A cluster with two workers."""
    with laboratory("scheduler", "database", "engine", *WORKERS) as network:
        farm = FarFarm(network, directory, patience, settings)
        try:
            farm.serve()
            farm.schedule()
            for name in WORKERS:
                farm.hire(name)
            farm.ready()
            yield farm
        finally:
            farm.close()


class Beacon:
    """What builds say of themselves, heard whatever is cut: they are on one machine after all."""

    def __init__(self, directory: Path) -> None:
        self.path, self.go = directory / "beacon", directory / "go"
        self.heard = Collector()

    @property
    def command(self) -> str:
        """Says where it runs, and ends when it may."""
        waiting = f"while test ! -e {self.go}; do sleep 0.02; done"
        return f"echo $$ > {self.path}; {waiting}; echo made > out; echo ended > {self.path}"

    async def begun(self) -> int:
        """Wait until a build has begun; its process."""
        return int(await self.heard.line())

    def processes(self) -> list[int]:
        """Those of all builds that have said something since it was last asked for."""
        lines = bytes(self.heard.data).decode().splitlines()
        self.heard.data.clear()
        return [int(line) for line in lines if line != "ended"]

    async def ended(self) -> None:
        """Wait until one has done all that it does."""
        assert await self.heard.line() == "ended"


@asynccontextmanager
async def beacon(directory: Path) -> AsyncIterator[Beacon]:
    """A beacon in ``directory``."""
    made = Beacon(directory)
    os.mkfifo(made.path)
    descriptor = os.open(made.path, os.O_RDWR | os.O_NONBLOCK)  # it never ends for who reads
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, lambda: made.heard(os.read(descriptor, 1 << 16)))
    try:
        yield made
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Scene:
    """The service on its machine, with a project of its own.

    Attributes:
        service: The service.
        beacon: Of its build.
        directory: The checkout that it watches.
        commit: What it tests.
    """

    service: RunningService
    beacon: Beacon
    directory: Path
    commit: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a build has come to.

    Attributes:
        files: What it has made, by name.
        log: The whole log.
        recorded: How many results there are of its stage, this one included.
    """

    files: Mapping[str, bytes]
    log: str
    recorded: int


async def result_of(farm: FarFarm, scene: Scene, commit: str) -> Result:
    """Let the build of ``commit`` end, and wait until that is recorded."""
    scene.beacon.go.touch()
    output = await scene.service.until_job("main", "held", "success", at=commit)
    (named,) = output["builds"]
    build = BuildId(named["project"], named["stage"], named["static"], named["key"])
    async with connect(farm.database) as database:
        head = await database.head(build.branch)
        assert head is not None
        tree = (await database.commit(head)).tree
        return Result(
            {"out": await database.read(tree, f"{build.directory}/value/out")},
            (await database.read(tree, f"{build.directory}/log")).decode(),
            len([each async for each in database.history(head)]),
        )


PIPELINE = """
from datakit_ci import Config, Project, shell

held = shell("held", {command!r}, outputs=["out"])

def jobs(target):
    return {{"held": held(target.source)}}

config = Config(projects=[Project({project!r}, jobs)])
"""


@asynccontextmanager
async def serving(farm: FarFarm, directory: Path, project: str) -> AsyncIterator[Scene]:
    """Start the service, which has ended well afterwards."""
    checkout = directory / "checkout"
    async with beacon(directory) as told:
        pipeline = PIPELINE.format(command=told.command, project=project)
        commit = commit_file(checkout, "pipeline.py", pipeline.encode())
        where = ["--metadata-store", farm.database, "--executor", f"dask:{farm.scheduler}"]
        command = service_command(
            checkout / "pipeline.py", checkout, project, *where,
            "--patience", f"{farm.patience:g}",
            web_ui=f"http://{farm.network.address('engine')}:0",
        )  # fmt: skip
        inside = [*farm.network.inside("engine"), *command]
        git = farm.directory / "database.git"
        async with started_service(inside, git, project, checkout, farm.database) as service:
            yield Scene(service, told, checkout, commit)
