"""Trees that builds were given and have made, for pages to show: friendly ones and hostile ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from datakit_ci.archive import Dossier
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.trace import Observation
from datakit_core.client.api import BlobId, CommitId, Entry, FileMode, ObjectId, TreeId
from tests.support.ci_scene import NOW, build_id, digest
from tests.support.fake_engine import FakeEngine

__all__ = ["PNG", "Files", "add_result", "entry", "put"]

Files = Mapping[str, bytes | tuple[FileMode, bytes]]
"""Contents by path; with a mode where it is no normal file."""

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
"""A picture of one transparent pixel."""


async def entry(engine: FakeEngine, mode: FileMode, content: bytes) -> Entry:
    """A file of some mode, in the engine's database."""
    tree = await engine.database.import_tree({"x": content})
    made = (await engine.database.tree(tree))["x"]
    return Entry(mode, made.id)


async def put(engine: FakeEngine, files: Files) -> TreeId:
    """A tree with these files, in the engine's database."""
    ready: dict[str, Entry | bytes] = {}
    for path, content in files.items():
        ready[path] = content if isinstance(content, bytes) else await entry(engine, *content)
    return await engine.database.import_tree(ready)


async def add_result(
    engine: FakeEngine,
    build: BuildId | None = None,
    *,
    given: Files | None = None,
    made: Files | None = None,
    reports: Files | None = None,
    failed: str = "",
    log: bytes = b"",
    finished: datetime = NOW,
    seen: tuple[Observation, ...] | None = None,
    state: BuildState | None = None,
) -> Dossier:
    """Record a result that is newer than those before it; ``state`` has what else is to be said."""
    build = build or build_id("acme/shop", "unit", "artefacts")
    state = state or BuildState(build, Status.SUCCESS, command="make unit")
    number = len(engine.recorded)
    output = await put(engine, made or {}) if not failed else None
    state = replace(
        state,
        status=Status.FAILURE if failed else Status.SUCCESS,
        reason=failed,
        input=await put(engine, given or {"README.md": b"# Shop\n"}),
        output=output,
        queued=finished - timedelta(seconds=50),
        started=finished - timedelta(seconds=41),
        finished=finished,
        exit_status=1 if failed else 0,
    )

    async def observe() -> tuple[Observation, ...] | None:
        return seen

    dossier = Dossier(
        state,
        engine.database,
        None if reports is None else await put(engine, reports),
        BlobId((await entry(engine, FileMode.NORMAL, log)).id),
        CommitId(ObjectId(digest("commit", str(number))[:40])),
        observe,
    )
    engine.record(dossier)
    return dossier
