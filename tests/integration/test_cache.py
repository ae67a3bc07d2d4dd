"""Results as commits: found by what was looked at, whatever else the input holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datakit_ci.cache import Cache, Finished
from datakit_ci.decisions import add_result, observe
from datakit_ci.meta import Meta
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.trace import Asker, Question, QuestionKind
from datakit_core.client.api import Database, Transaction, TreeId
from datakit_core.store.objects import EMPTY_TREE
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.databases import BACK_ENDS
from tests.support.memory_database import MemoryDatabase

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SRC = StageSpec("unit", StageKind.SHELL, "make", "f" * 64, inputs=("src",))


class Bench:
    """A cache, and a way to record results in it."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.cache = Cache(database)
        self.directory = directory

    async def tree(self, files: Mapping[str, bytes]) -> TreeId:
        return await self.database.import_tree(files)

    async def need(self, files: Mapping[str, bytes], spec: StageSpec = SRC) -> Build:
        return Build("me/app", spec, await self.tree(files))

    async def record(
        self, need: Build, outcome: Outcome | None = None, log: bytes = b"log\n"
    ) -> BuildId:
        build = await self.cache.name(need)
        path = self.directory / "log"
        path.write_bytes(log)
        end = START + timedelta(seconds=3)
        meta = Meta("make", need.input, START, START, end, "local", 0, len(log))
        await self.cache.record(Finished(need, build, outcome or Outcome(), meta, path))
        return build

    async def found(self, need: Build) -> BuildState:
        state = await self.cache.find(need)
        assert state is not None
        return state

    async def log(self, build: BuildId, offset: int = 0) -> bytes:
        return b"".join([piece async for piece in self.cache.log(build, offset)])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield Bench(database, tmp_path)


async def test_nothing_is_found_in_an_empty_database(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    assert await bench.cache.find(need) is None
    assert await bench.cache.read(await bench.cache.name(need)) is None
    assert await bench.log(await bench.cache.name(need)) == b""


async def test_a_result_is_found_again_with_all_that_was_recorded(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    output = await bench.tree({"made": b"1"})
    build = await bench.record(need, Outcome(output=output, exit_status=0))
    assert await bench.found(need) == BuildState(
        id=build,
        status=Status.SUCCESS,
        command="make",
        input=need.input,
        output=output,
        queued=START,
        started=START,
        finished=START + timedelta(seconds=3),
        exit_status=0,
        log_size=4,
        details={"executor": "local"},
    )
    assert await bench.log(build) == b"log\n"
    assert await bench.log(build, 2) == b"g\n"
    assert await messages_of(bench.database, build.branch) == ["unit: passed in 3.0 s"]


async def test_a_failure_is_found_with_its_reason_and_has_no_output(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    reports = await bench.tree({"report.xml": b"<x/>"})
    build = await bench.record(need, Outcome(failure="exited with status 1", reports=reports))
    state = await bench.found(need)
    assert (state.status, state.reason, state.output) == (
        Status.FAILURE,
        "exited with status 1",
        None,
    )
    files = await files_of(bench.database, build.branch)
    assert files[f"{build.directory}/reports/report.xml"] == "<x/>"
    assert await messages_of(bench.database, build.branch) == [
        "unit: failed in 3.0 s: exited with status 1"
    ]


async def test_an_output_without_files_is_an_output(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    await bench.record(need)
    assert (await bench.found(need)).output == EMPTY_TREE


async def test_what_the_stage_does_not_see_makes_no_difference(bench: Bench) -> None:
    build = await bench.record(await bench.need({"src/a": b"a", "docs": b"old"}))
    same = await bench.need({"src/a": b"a", "docs": b"new"})
    assert (await bench.found(same)).id == build == await bench.cache.name(same)


async def test_what_the_stage_sees_makes_a_difference(bench: Bench) -> None:
    build = await bench.record(await bench.need({"src/a": b"a"}))
    other = await bench.need({"src/a": b"b"})
    assert await bench.cache.find(other) is None
    assert (await bench.cache.name(other)) != build
    absent = await bench.need({"docs": b"a"})
    assert await bench.cache.find(absent) is None


async def test_a_stage_that_declares_nothing_sees_everything(bench: Bench) -> None:
    everything = replace(SRC, inputs=None)
    await bench.record(await bench.need({"src/a": b"a", "docs": b"old"}, everything))
    assert await bench.cache.find(await bench.need({"src/a": b"a"}, everything)) is None


async def test_stages_with_other_code_or_parameters_do_not_share_results(bench: Bench) -> None:
    files = {"src/a": b"a"}
    await bench.record(await bench.need(files))
    for other in (replace(SRC, fingerprint="e" * 64), replace(SRC, parameters='{"x":1}')):
        assert await bench.cache.find(await bench.need(files, other)) is None
    assert await bench.cache.find(await bench.need(files, replace(SRC, timeout=1.0))) is not None


async def test_many_results_are_told_apart(bench: Bench) -> None:
    needs = [await bench.need({"src/a": b"%d" % number}) for number in range(20)]
    builds = [await bench.record(need) for need in needs]
    assert len(set(builds)) == 20
    assert [(await bench.found(need)).id for need in needs] == builds


async def test_a_rebuild_is_a_new_commit_on_the_same_key(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    await bench.record(need, Outcome(failure="no luck"))
    build = await bench.record(need, log=b"again\n")
    assert (await bench.found(need)).status is Status.SUCCESS
    assert await bench.log(build) == b"again\n"
    assert len(await messages_of(bench.database, build.branch)) == 2


async def test_a_long_log_is_stored_whole(bench: Bench) -> None:
    log = b"".join(b"line %d\n" % number for number in range(100_000))
    build = await bench.record(await bench.need({"src/a": b"a"}), log=log)
    assert await bench.log(build) == log
    assert [path.name for path in bench.directory.iterdir() if path.is_dir()] == ["db.git"]


async def test_results_of_one_stage_that_end_at_the_same_time_are_all_kept(bench: Bench) -> None:
    needs = [await bench.need({"src/a": b"%d" % number}) for number in range(5)]
    async with asyncio.TaskGroup() as group:
        for need in needs:
            group.create_task(bench.record(need))
    for need in needs:
        assert await bench.cache.find(need) is not None


class Racing:
    """A database in which somebody else commits just before the first attempt to."""

    def __init__(self, database: Database, race: Callable[[], AsyncIterator[None]]) -> None:
        self._database = database
        self._race = race()

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    def transaction(self, branch: str) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that has just lost a race."""
        return self._raced(branch)

    @asynccontextmanager
    async def _raced(self, branch: str) -> AsyncIterator[Transaction]:
        async with self._database.transaction(branch) as transaction:
            await anext(self._race, None)
            yield transaction


async def test_a_lost_race_is_run_again_and_nobody_loses(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    branch = (await bench.cache.name(need)).branch

    async def race() -> AsyncIterator[None]:
        await commit_files(bench.database, branch, {"somebody": b"else"})
        yield

    bench.cache = Cache(Racing(bench.database, race))  # type: ignore[arg-type]
    build = await bench.record(need)
    assert (await bench.found(need)).id == build
    assert (await files_of(bench.database, branch))["somebody"] == "else"


@pytest.mark.parametrize("name", ["ask", "result"])
async def test_a_damaged_trace_is_reported_and_not_found(
    bench: Bench, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    need = await bench.need({"src/a": b"a"})
    build = await bench.record(need)
    files = await files_of(bench.database, build.branch)
    (path,) = (path for path in files if path.endswith(f"/{name}"))
    await commit_files(bench.database, build.branch, {path: b"nonsense"})
    assert await bench.cache.find(need) is None
    assert "damaged trace" in caplog.text
    await bench.record(need)
    assert await bench.cache.find(need) is not None


FUNCTION = StageSpec("count", StageKind.PYTHON, "count", "f" * 64)


def asking(*questions: str) -> Outcome:
    """The outcome of a function that has looked at this."""
    pairs = (text.split(" ") for text in questions)
    return Outcome(questions=tuple(Question(QuestionKind(kind), path) for kind, path in pairs))


async def test_a_result_serves_every_input_in_which_all_that_was_seen_is_equal(
    bench: Bench,
) -> None:
    first = await bench.need({"conf": b"1", "docs": b"old"}, FUNCTION)
    build = await bench.record(first, asking("file conf", "kind extra"))
    other = await bench.need({"conf": b"1", "docs": b"new"}, FUNCTION)
    assert await bench.cache.name(other) != build
    assert (await bench.found(other)).id == build
    for files in ({"conf": b"2"}, {"conf": b"1", "extra": b""}, {}):
        assert await bench.cache.find(await bench.need(files, FUNCTION)) is None


async def test_a_function_with_declared_inputs_is_asked_about_these(bench: Bench) -> None:
    spec = replace(FUNCTION, inputs=("src/a", "conf"))
    build = await bench.record(await bench.need({"src/a": b"1"}, spec), asking("list ", "list src"))
    same = await bench.need({"src/a": b"2", "src/b": b"", "docs": b""}, spec)
    assert (await bench.found(same)).id == build
    assert await bench.cache.find(await bench.need({"src/a": b"1", "conf": b""}, spec)) is None


async def test_what_was_asked_is_recorded_in_its_order_with_the_answers(bench: Bench) -> None:
    need = await bench.need({"a": b"1", "b": b"2"}, FUNCTION)
    build = await bench.record(need, asking("kind b", "kind a"))
    files = await files_of(bench.database, build.branch)
    texts = [text for path, text in files.items() if path.endswith(("/ask", "/answers"))]
    assert sorted(texts) == [
        '{"answers":["F","F"],"version":1}\n',
        '{"questions":[["kind","b"],["kind","a"]],"version":1}\n',
    ]


async def test_traces_that_part_are_all_found(bench: Bench) -> None:
    """A configuration names the file that is read: what is asked depends on an answer."""
    needs = {}
    for name in ("x", "y", "x", "z"):
        need = await bench.need({"conf": name.encode(), name: b"1", "more": b""}, FUNCTION)
        needs[name] = await bench.record(need, asking("file conf", f"file {name}", "kind more"))
    for name, build in needs.items():
        given = {"conf": name.encode(), name: b"1", "more": b"", "other": name.encode()}
        assert (await bench.found(await bench.need(given, FUNCTION))).id == build
        changed = await bench.need({**given, name: b"2"}, FUNCTION)
        assert await bench.cache.find(changed) is None


async def test_equal_traces_from_two_inputs_are_one(bench: Bench) -> None:
    needs = [await bench.need({"conf": b"1", "n": b"%d" % n}, FUNCTION) for n in range(2)]
    async with asyncio.TaskGroup() as group:
        for need in needs:
            group.create_task(bench.record(need, asking("file conf")))
    build = (await bench.found(needs[0])).id
    assert (await bench.found(needs[1])).id == build
    files = await files_of(bench.database, build.branch)
    assert len([path for path in files if path.endswith("/result")]) == 1


async def test_a_pruned_run_does_not_hide_one_that_is_there(bench: Bench) -> None:
    """The first trace was recorded as a whole, the third by shorter batches."""
    first = await bench.need({"conf": b"x", "x": b"1", "n": b"1"}, FUNCTION)
    second = await bench.need({"conf": b"y", "y": b"1"}, FUNCTION)
    gone = await bench.record(first, asking("file conf", "file x"))
    await bench.record(second, asking("file conf", "file y"))
    await commit_files(bench.database, gone.branch, {gone.directory: None})
    third = await bench.need({"conf": b"x", "x": b"1", "n": b"2"}, FUNCTION)
    build = await bench.record(third, asking("file conf", "file x"))
    assert (await bench.found(first)).id == build


async def test_a_trace_that_is_a_file_is_put_right(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    need = await bench.need({"src/a": b"a"})
    build = await bench.record(need)
    trace = f"{build.directory.partition('/runs/')[0]}/trace"
    await commit_files(bench.database, build.branch, {trace: None})
    await commit_files(bench.database, build.branch, {trace: b"nonsense"})
    assert await bench.cache.find(need) is None
    assert "the stage runs again" in caplog.text
    await bench.record(need)
    assert (await bench.found(need)).id == build


async def test_a_look_up_costs_questions_and_not_results() -> None:
    """The objects that are read do not become more with the number of results."""
    reads = {results: await reads_of_a_look_up(results) for results in (10, 2000)}
    assert reads[2000] == reads[10]


async def reads_of_a_look_up(results: int) -> int:
    """Record ``results`` builds whose configuration names the file that they read; find one."""
    database = MemoryDatabase()
    cache = Cache(database)  # type: ignore[arg-type]  # as much as it needs
    branch = Build("me/app", FUNCTION, EMPTY_TREE)
    static = (await cache.name(branch)).directory.partition("/runs/")[0]
    async with database.transaction((await cache.name(branch)).branch) as transaction:
        for number in range(results):
            files = {"conf": b"%d" % number, f"files/{number}": b"x"}
            need = Build("me/app", FUNCTION, await database.import_tree(files))
            build = await cache.name(need)
            asked = asking("file conf", f"file files/{number}").questions or ()
            seen = await observe(Asker(database, need.input), asked)
            await add_result(transaction, f"{static}/trace", seen, build.key)  # type: ignore[arg-type]
            meta = Meta("count", need.input, START, START, START, "local")
            await transaction.write(f"{build.directory}/meta.json", meta.to_bytes())
        await transaction.commit_if(None, "results")
    database.objects.reads.clear()
    files = {"conf": b"7", "files/7": b"x", "docs": b"new"}
    wanted = Build("me/app", FUNCTION, await database.import_tree(files))
    assert await cache.find(wanted) is not None
    return len(database.objects.reads)


async def test_a_pruned_run_is_not_found(bench: Bench) -> None:
    need = await bench.need({"src/a": b"a"})
    build = await bench.record(need)
    await commit_files(bench.database, build.branch, {build.directory: None})
    assert await bench.cache.find(need) is None
