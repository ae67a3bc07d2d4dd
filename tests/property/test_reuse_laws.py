"""Reuse is sound: a result that is found is the one that a clean run would give.

Random stages, trees and edits. ``make soak`` tries a million edits.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from datakit_ci.cache import Cache
from datakit_ci.edits import Edit, compare
from datakit_ci.evaluate import Evaluator
from datakit_ci.graph import Graph
from datakit_ci.memory import narrow
from datakit_ci.need import BranchHead, Build, BuildFact, Facts, TreeOf
from datakit_ci.outcome import Outcome
from datakit_ci.question import Question, QuestionKind
from datakit_ci.result import Failed, Ok
from datakit_ci.search import Search
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.stage import StageFailed
from datakit_ci.state import BuildState
from datakit_ci.term import branch, run_stage, tree_of
from datakit_ci.trace import Tracer
from datakit_ci.tree import Tree
from datakit_core.client.api import Entry, TreeId
from datakit_core.store.objects import NewObject, ObjectKind, new_object
from tests.support.memory_database import MemoryDatabase
from tests.support.random_stages import Files, RandomStage, edited, random_files
from tests.support.results import record
from tests.support.story import MAIN, commit_id

EDITS = int(os.environ.get("DATAKIT_EDITS", "1600"))
SERVED = "a running service has kept another result"
EACH = 40
"""Edits of one stage's input."""

SHARES = 4

UNCHANGED: Callable[[Edit], Edit] = lambda edit: edit  # noqa: E731

Result = tuple[str | None, TreeId | None]
"""Why it failed, or what it made."""


class World:
    """One stage, and a database with its results."""

    def __init__(
        self,
        seed: int,
        scratch: Path,
        forget: Callable[[Question], bool] = lambda _: False,
        told: Callable[[Edit], Edit] = UNCHANGED,
    ) -> None:
        self.database = MemoryDatabase()
        self.reused = 0
        self._cache = Cache(self.database)  # type: ignore[arg-type]  # as much as it needs
        self._search = Search(self.database, self._cache)  # type: ignore[arg-type]
        self._stage = RandomStage(seed, scratch)
        self._spec = StageSpec(
            "stage", StageKind.PYTHON, "stage", "0" * 64, inputs=self._stage.inputs
        )
        self._evaluation = Evaluation(self._spec)
        self._log = scratch / "log"
        self._forget = forget
        self._told = told

    async def try_out(self, files: Files) -> tuple[Result, Result]:
        """The result on ``files`` as the engine gets it, and that of a clean run."""
        need = Build("me/app", self._spec, await self._import(files))
        expected = await self._run(need, Tracer())
        found = await self._find(need)
        if found is None:
            await self._record(need)
            found = await self._find(need)
            assert found is not None, "what was recorded is found"
        else:
            self.reused += 1
        served = await self._evaluation.move(self.database, need, found, self._told)
        if _result(found) == expected:  # else that is what is wrong
            assert served == expected, f"{SERVED}: {served} instead of {expected}"
        self.database.objects.reads.clear()
        return _result(found), expected

    @property
    def kept(self) -> int:
        """How often the stage went on to ask for the build that it had asked for."""
        return self._evaluation.kept

    async def _find(self, need: Build) -> BuildState | None:
        """As the engine does, which remembers what it has found before."""
        self._search.refresh()
        found = (await self._search.find(need)).recorded
        assert found == await self._cache.find(need), "what is remembered is what is there"
        return found

    async def _record(self, need: Build) -> None:
        tracer = Tracer()
        failure, output = await self._run(need, tracer)
        asked = tracer.questions
        assert asked is not None
        seen = tuple(question for question in asked if not self._forget(question))
        outcome = Outcome(failure, questions=seen)
        if output is not None:
            outcome = Outcome(output=output, questions=seen)
        await record(self._cache, need, outcome, self._log)

    async def _run(self, need: Build, tracer: Tracer) -> Result:
        reader, tree = await narrow(self.database, need.input, need.spec.inputs)
        try:
            made = await self._stage(Tree(tree, reader, tracer.observe))
        except StageFailed as failure:
            return str(failure), None
        output = made.id
        if made.reader is not self.database:
            plain, files = Tree(output, made.reader), {}
            async for path in plain.walk():
                entry = await plain.entry(path)
                assert entry is not None
                files[path] = entry.mode, await plain.read(path)
            assert output == await self._import(files)
        return None, output

    async def _import(self, files: Files) -> TreeId:
        made: list[NewObject] = []
        entries: dict[str, Entry | bytes] = {}
        for path, (mode, content) in files.items():
            made.append(new_object(ObjectKind.BLOB, content))
            entries[path] = Entry(mode, made[-1].id)
        self.database.objects.add(made)
        return await self.database.import_tree(entries)


class Evaluation:
    """A running service's: it is kept while the head moves, and told what each commit changes.

    Attributes:
        kept: How often the head has moved without another build being asked for.
    """

    def __init__(self, spec: StageSpec) -> None:
        self.kept = 0
        self._facts = Facts()
        graph = Graph.of({"job": run_stage(spec, tree_of(branch("main")))})
        self._evaluator = Evaluator(graph, self._facts, MAIN)
        self._commits = itertools.count(1)
        self._at: TreeId | None = None

    async def move(
        self,
        database: MemoryDatabase,
        need: Build,
        found: BuildState,
        told: Callable[[Edit], Edit],
    ) -> Result:
        """What the stage comes to on the input of ``need``, for which ``found`` is recorded."""
        edit = None if self._at is None else await compare(database, self._at, need.input)
        if edit is not None and self._at is not None:
            self._facts.edits.note(self._at, need.input, told(edit))
        self._at, commit = need.input, commit_id(next(self._commits))
        self._facts.record(TreeOf(commit), need.input)
        self._facts.record(BranchHead("main"), commit)
        update = self._evaluator.update([BranchHead("main")])
        if need in update.gained:
            self._facts.record(need, BuildFact.recorded(found))
            self._evaluator.update([need])
        else:
            self.kept += 1
        for lost in update.lost:
            self._facts.forget(lost)
        (wanted,) = (each for each in self._evaluator.asked if isinstance(each, Build))
        assert self._evaluator.given(wanted) == need.input
        match self._evaluator.outputs()["job"].result:
            case Ok(value=Tree(id=output)):
                return None, output
            case Failed(reason=reason):
                return reason, None
            case other:
                raise AssertionError(other)


def _result(state: BuildState) -> Result:
    return (None, state.output) if state.output is not None else (state.reason, None)


async def edit(seed: int, world: World, edits: int) -> None:
    """Edit the input again and again, also back to what it was."""
    random = Random(seed)
    states = [random_files(random)]
    for number in range(edits):
        found, expected = await world.try_out(states[-1])
        assert found == expected, f"seed {seed}, edit {number}: {states[-1]}"
        back = random.random() < 0.1
        states.append(random.choice(states) if back else edited(random, states[-1]))


@pytest.mark.parametrize("share", range(SHARES))
def test_what_is_reused_is_what_a_clean_run_gives(share: int, tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        reused = kept = 0
        for seed in range(share, EDITS // EACH, SHARES):
            world = World(seed, tmp_path)
            await edit(seed, world, EACH)
            reused += world.reused
            kept += world.kept
        return reused, kept

    reused, kept = asyncio.run(run())
    assert reused > EDITS // SHARES // 10
    assert kept > EDITS // SHARES // 4


@pytest.mark.parametrize("kind", sorted(set(QuestionKind) - {QuestionKind.STAT}, key=str))
def test_a_question_that_is_forgotten_is_noticed(kind: QuestionKind, tmp_path: Path) -> None:
    async def run() -> None:
        for seed in range(400):
            await edit(seed, World(seed, tmp_path, lambda asked: asked.kind is kind), EACH)

    with pytest.raises(AssertionError, match="edit"):
        asyncio.run(run())


def _without_directories(edit: Edit) -> Edit:
    paths = edit.touched
    files = {path for path in paths if not any(p.startswith(f"{path}/") for p in paths if path)}
    return replace(edit, touched=frozenset(files - {""}))


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(lambda edit: replace(edit, touched=edit.touched - {""}), id="root"),
        pytest.param(_without_directories, id="directories"),
        pytest.param(lambda edit: replace(edit, replaced=frozenset()), id="below a new directory"),
        pytest.param(lambda edit: replace(edit, rekinded=frozenset()), id="kinds"),
        pytest.param(lambda edit: replace(edit, relisted=edit.rekinded), id="lists"),
        pytest.param(
            lambda edit: replace(edit, touched=frozenset(sorted(edit.touched)[:-1])), id="a path"
        ),
    ],
)
def test_an_edit_that_leaves_something_out_is_noticed(
    told: Callable[[Edit], Edit], tmp_path: Path
) -> None:
    async def run() -> None:
        for seed in range(400):
            await edit(seed, World(seed, tmp_path, told=told), EACH)

    with pytest.raises(AssertionError, match=SERVED):
        asyncio.run(run())
