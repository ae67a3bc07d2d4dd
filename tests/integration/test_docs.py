"""The examples in ``docs/pipelines.md`` are run, and say what the page says."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import datakit_ci
from datakit_ci import fail
from datakit_ci.blueprint import decode, encode
from datakit_ci.cache import Cache
from datakit_ci.cli import main
from datakit_ci.need import Build
from datakit_ci.options import CommandConditions, StageConditions, check_options
from datakit_ci.outcome import Outcome
from datakit_ci.pipeline import load_stage
from datakit_ci.project import Project, load_jobs, load_pipeline, stages
from datakit_ci.stage import StageFailed, shell
from datakit_ci.target import Target
from datakit_ci.trace import Tracer
from datakit_ci.tree import PlainTree, Tree
from tests.support.memory_database import MemoryDatabase
from tests.support.results import record

TEXT = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", TEXT, re.DOTALL)
PIPELINES = [text for kind, text in BLOCKS if kind == "python"]
SHOWN = [
    (text, shown)
    for (kind, text), (following, shown) in pairwise(BLOCKS)
    if kind == "python" and following == "console"
]


@pytest.mark.parametrize(("pipeline", "shown"), SHOWN)
def test_check_says_what_the_page_says(
    pipeline: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pipeline.py").write_text(pipeline)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    prompt, _, expected = shown.partition("\n")
    monkeypatch.setattr(sys, "argv", prompt.removeprefix("$ ").split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_of_the_page_is_fine(pipeline: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(pipeline)
    config = load_pipeline(tmp_path / "pipeline.py")
    targets = [each.target for each in config.flows]
    targets += [Target(each.id, "heads", "main") for each in config.projects]
    assert targets
    for target in targets:
        project = config.project(target.project)
        assert (project is not None and project.pipeline) or config.graph(target).jobs


@pytest.mark.parametrize("pipeline", re.findall(r"```py\n(.*?)```", TEXT, re.DOTALL))
def test_every_pipeline_for_a_repository_is_fine(pipeline: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(pipeline)
    project = Project("me/my-project", load_jobs(tmp_path / "pipeline.py"))
    graph = project.graph(Target(project.id, "heads", "main"))
    assert decode(encode(graph, project.id), project.id, "").terms(lambda *_: fail("no"))


def test_the_stages_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text(next(text for text in PIPELINES if "async def sizes" in text))
    graph = load_pipeline(path).graph(Target("me/my-project", "heads", "main"))
    count, limit = stages(graph)
    sizes, strict = load_stage(path, count).function, load_stage(path, limit).function
    assert sizes is not None
    assert strict is not None
    source = Tree.from_files({"a.py": "1\n2\n", "b/c.py": "3\n", "d.txt": "4\n"})
    counted = PlainTree(asyncio.run(sizes(source, **count.arguments)), asyncio.run)
    assert strict(counted, **limit.arguments) == {"total": "3\n"}
    with pytest.raises(StageFailed, match="3 lines are more than 2"):
        strict(counted, most=2)


def test_every_name_and_option_is_on_the_page() -> None:
    types = {
        "Acl",
        "Failed",
        "Flow",
        "Matrix",
        "Ok",
        "Pending",
        "Result",
        "Stage",
        "Target",
        "TargetTerms",
        "Term",
    }
    for name in set(datakit_ci.__all__) - types:
        assert re.search(rf"\b{name}\b", TEXT), name
    options = set(shell.__annotations__) | set(check_options.__annotations__)
    options |= set(get_type_hints(CommandConditions))
    for option in options - {"name", "command", "conditions", "return"}:
        assert f"`{option}=" in TEXT, option


ROWS = re.findall(
    r"^\| `(\w+)=(.+?)` \| (both|`shell`) \| (yes|no) \|",
    TEXT.partition("## Every option of a stage")[2],
    re.MULTILINE,
)


def test_the_table_has_every_option_of_each_kind_of_stage() -> None:
    every = set(check_options.__annotations__) | set(get_type_hints(CommandConditions))
    every |= set(shell.__annotations__)
    assert {name for name, *_ in ROWS} == every - {"command", "conditions", "return"}
    functions = set(get_type_hints(StageConditions)) | {"name", "inputs", "env", "timeout"}
    assert {name for name, _, kind, _ in ROWS if kind == "both"} == functions | {"pool", "version"}


@pytest.mark.parametrize(("name", "value", "kind", "key"), ROWS)
def test_the_table_says_what_is_part_of_the_key(name: str, value: str, kind: str, key: str) -> None:
    def static(**options: Any) -> str:
        return shell(**{"name": "x", "command": "y", **options}).spec.static_digest("me/app")

    given = {name: ast.literal_eval(value)}
    before: dict[str, Any] = {"sandbox": True} if name == "network" else {}
    if name == "env":
        before = {"env": {"LANG": "C"}}
    assert (static(**before) != static(**{**before, **given})) is (key == "yes")


def test_the_contents_name_every_section_in_its_order() -> None:
    contents, _, page = TEXT.partition("## On this page")[2].partition("\n## ")
    headings = re.findall(r"^## (.*)$", f"## {page}", re.MULTILINE)
    listed = re.findall(r"\[(.*?)\]\(#(.*?)\)", contents)
    assert [text.casefold() for text, _ in listed] == [each.casefold() for each in headings]
    anchors = [re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings]
    assert [anchor for _, anchor in listed] == anchors


EDITS = re.findall(
    r"^\| `(\S+)` is (edited back|edited|added|removed) \| (yes|no)", TEXT, re.MULTILINE
)


async def test_a_stage_runs_again_when_the_page_says_so(tmp_path: Path) -> None:
    assert len(EDITS) == 8
    path = tmp_path / "pipeline.py"
    path.write_text(next(text for text in PIPELINES if "def licences" in text))
    (spec,) = stages(load_pipeline(path).graph(Target("me/my-project", "heads", "main")))
    function = load_stage(path, spec).function
    assert function is not None
    start = {
        "README": b"",
        "exempt.txt": b"c",
        "packages/a/setup.cfg": b"",
        "packages/a/LICENSE": b"",
        "packages/c/setup.cfg": b"",
    }
    cache = Cache(database := MemoryDatabase())  # type: ignore[arg-type]  # as much as it needs

    async def runs(files: Mapping[str, bytes]) -> bool:
        need = Build("me/my-project", spec, await database.import_tree(files))
        if await cache.find(need) is not None:
            return False
        tracer = Tracer()
        with suppress(StageFailed):
            await function(Tree(need.input, database, tracer.observe))
        await record(cache, need, Outcome(questions=tracer.questions), tmp_path / "log")
        return True

    assert await runs(start)
    for edit in EDITS:
        name, what, again = edit
        files = {**start, name: b"" if what == "added" else b"d"}
        if what == "edited back":
            files = start
        if what == "removed":
            del files[name]
        assert await runs(files) is (again == "yes"), edit
