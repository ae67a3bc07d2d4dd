"""The archive of results: found, listed in their order, and read with nothing else in reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from datakit_ci.archive import Archive, Dossier
from datakit_ci.cache import Cache
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId, Status
from datakit_core.client.api import CommitId, Database, ObjectId
from tests.support.databases import BACK_ENDS
from tests.support.results import NOW, record

PROJECT = "me/my-app"


def spec(name: str) -> StageSpec:
    return StageSpec(name=name, kind=StageKind.SHELL, fingerprint="f" * 64, command=f"make {name}")


@dataclass
class World:
    """A database with results, and how to make more."""

    database: Database
    cache: Cache
    log: Path
    made: int = 0

    async def make(self, stage: str, content: bytes, failure: str | None = None) -> BuildId:
        self.made += 1
        tree = await self.database.import_tree({"a": content})
        reports = await self.database.import_tree({"report.xml": b"<testsuite/>" + content})
        outcome = Outcome(failure, reports=reports) if failure else Outcome(None, tree, reports)
        need = Build(PROJECT, spec(stage), tree)
        ended = NOW + timedelta(seconds=self.made)
        return await record(self.cache, need, outcome, self.log, ended)


@pytest.fixture(params=sorted(BACK_ENDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS[request.param](tmp_path / "db.git") as database:
        yield World(database, Cache(database), tmp_path / "log")


async def listed(archive: Archive, stage: str) -> Sequence[Dossier]:
    return [each async for each in archive.results(PROJECT, stage)]


async def test_results_are_listed_newest_first_also_those_made_again(world: World) -> None:
    first = await world.make("unit", b"1")
    second = await world.make("unit", b"2")
    again = await world.make("unit", b"1", failure="exit status 1")
    await world.make("other", b"1")
    assert again == first
    found = await listed(Archive(world.database), "unit")
    assert [each.state.id for each in found] == [first, second, first]
    assert [each.state.status for each in found] == [
        Status.FAILURE, Status.SUCCESS, Status.SUCCESS,
    ]  # fmt: skip
    assert len({each.commit for each in found}) == 3
    assert await listed(Archive(world.database), "nothing") == []


async def test_a_result_that_was_replaced_is_found_by_its_commit_and_only_so(world: World) -> None:
    build = await world.make("unit", b"1")
    await world.make("unit", b"1", failure="it broke")
    foreign = await world.make("other", b"1")
    archive = Archive(world.database)
    newest, oldest = await listed(archive, "unit")
    now = await archive.find(build)
    assert now is not None
    assert now.state == newest.state
    before = await archive.find(build, oldest.commit)
    assert before is not None
    assert before.state.status is Status.SUCCESS
    assert before.reports == now.reports
    other = await world.database.head(foreign.branch)
    assert other is not None
    assert await archive.find(build, other) is None
    assert await archive.find(foreign, oldest.commit) is None
    assert await archive.find(build, CommitId(ObjectId("0" * 40))) is None


async def test_a_dossier_reads_its_trees_and_what_the_build_looked_at(world: World) -> None:
    build = await world.make("unit", b"content")
    dossier = await Archive(world.database).find(build)
    assert dossier is not None
    assert dossier.state.output is not None
    assert dossier.reports is not None
    entry = await dossier.objects.entry(dossier.reports, "report.xml")
    assert entry is not None
    seen = await dossier.observe()
    assert seen is not None
    assert [each.question.path for each in seen] == [""]


async def test_an_archive_as_of_a_moment_knows_nothing_later(world: World) -> None:
    build = await world.make("unit", b"1")
    then = await world.database.head(build.branch)
    later = await world.make("unit", b"2")

    async def head(branch: str) -> CommitId | None:
        return then if branch == build.branch else None

    archive = Archive(world.database)
    past = archive.as_of(head)
    assert len(await listed(archive, "unit")) == 2
    assert [each.state.id for each in await listed(past, "unit")] == [build]
    assert await past.find(later) is None
    assert await past.find(build) is not None


async def test_results_without_a_history_are_ordered_by_their_ends(world: World) -> None:
    builds = [await world.make("unit", b"%d" % number) for number in range(4)]
    branch = builds[0].branch
    head = await world.database.head(branch)
    assert head is not None
    async with world.database.transaction("kept") as transaction:
        tree = (await world.database.commit(head)).tree
        for name, entry in (await world.database.tree(tree)).items():
            await transaction.graft(name, entry)
        rootless = await transaction.commit("everything at once")
    await world.database.remove_branch(branch)
    await world.database.create_branch(branch, rootless)
    found = await listed(Archive(world.database), "unit")
    assert [each.state.id for each in found] == builds[::-1]
    assert {each.commit for each in found} == {rootless}


async def test_what_is_damaged_by_hand_is_left_out(world: World) -> None:
    good = await world.make("unit", b"1")
    bad = await world.make("unit", b"2")
    async with world.database.transaction(good.branch) as transaction:
        await transaction.write(f"{bad.directory}/meta.json", b"{")
        await transaction.write("stray", b"file")
        await transaction.commit("damage")
    archive = Archive(world.database)
    assert await archive.find(bad) is None
    assert [each.state.id for each in await listed(archive, "unit")] == [bad, good]
