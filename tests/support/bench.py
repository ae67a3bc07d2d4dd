"""A database with the executor that is built in, to run single stages in real processes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.outcome import Outcome
from datakit_ci.pipeline import import_pipeline
from datakit_ci.redaction import NO_SECRETS, Redaction
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.stage import Stage
from datakit_ci.state import BuildId
from datakit_core.client.api import Database, Entry, TreeId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import InlineWriter, Store
from datakit_core.store.objects import EMPTY_TREE
from tests.support.places import Place
from tests.support.processes import Collector

__all__ = ["Bench", "PlacedBench", "bench_at", "command", "open_bench"]

_NOTHING = "from datakit_ci.project import Config\nconfig = Config(projects=[])\n"


class PlacedBench:
    """A database, an executor, and a way to run single stages.

    Attributes:
        executor: Runs them, beside the engine or elsewhere.
        builds: The directories in which builds have theirs.
    """

    executor: Executor

    def __init__(
        self, database: Database, executor: Executor, directory: Path, builds: Sequence[Path] = ()
    ) -> None:
        self.database = database
        self.executor = executor
        self.directory = directory
        self.log = Collector()
        self.builds = builds or [directory / "work"]

    async def tree(self, files: Mapping[str, bytes | Entry]) -> TreeId:
        return await self.database.import_tree(files)

    async def run(
        self,
        spec: StageSpec,
        tree: TreeId = EMPTY_TREE,
        secrets: Mapping[str, str] | None = None,
        redaction: Redaction = NO_SECRETS,
    ) -> Outcome:
        build = BuildId("me/app", spec.name, "0" * 64, "1" * 64)
        request = BuildRequest(build, spec, tree, secrets or {}, redaction)
        return await self.executor.run(request, self.log)

    async def files(self, tree: TreeId, prefix: str = "") -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name, entry in (await self.database.tree(tree)).items():
            if entry.is_directory:
                found |= await self.files(TreeId(entry.id), f"{prefix}{name}/")
            else:
                found[f"{prefix}{name}"] = await self.database.read(tree, name)
        return found

    def function(self, name: str, **parameters: int) -> StageSpec:
        """The specification of one of the pipeline's own functions."""
        stage: Stage[...] = vars(import_pipeline(self.directory / "pipeline.py"))[name]
        return replace(stage.spec, parameters=json.dumps(parameters))

    @property
    def text(self) -> str:
        return bytes(self.log.data).decode()

    @property
    def leftovers(self) -> list[str]:
        """What is in the executor's directories, besides the checkouts that it keeps."""
        found = (path for builds in self.builds for path in builds.iterdir())
        return [path.name for path in found if path.name != "kept"]


class Bench(PlacedBench):
    """One whose executor is the one that is built in."""

    executor: LocalExecutor


@asynccontextmanager
async def open_bench(
    directory: Path, pipeline: str = _NOTHING, grace: float = 0.1
) -> AsyncIterator[Bench]:
    """A bench in ``directory`` whose pipeline has this text; ``grace`` as the executor has it."""
    path = directory / "pipeline.py"
    path.write_text(pipeline)
    repository = directory / "database.git"
    async with Store.open(repository, create=True, writer=InlineWriter) as store:
        database = LocalDatabase(store)
        async with LocalExecutor(
            database, repository, path, directory / "work", grace=grace
        ) as executor:
            yield Bench(database, executor, directory)


def bench_at(place: Place, directory: Path, pipeline: str = _NOTHING) -> PlacedBench:
    """A bench that runs stages at a place, whose pipeline has this text."""
    (directory / "pipeline.py").write_text(pipeline)
    return PlacedBench(place.database, place.executor, directory, place.builds)


def command(text: str, **options: object) -> StageSpec:
    return replace(StageSpec("stage", StageKind.SHELL, text, "0" * 64), **options)  # type: ignore[arg-type]
