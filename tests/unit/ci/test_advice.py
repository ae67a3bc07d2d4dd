"""What ``datakit-ci check`` says of pipelines that are probably not meant so."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci import gate, shell
from datakit_ci.advice import missing_inputs, missing_sandbox
from datakit_ci.graph import Graph
from datakit_ci.project import TargetTerms, stages
from datakit_ci.target import Target

SOURCE = TargetTerms(Target.parse("me/app", "heads/main")).source


def test_inputs_that_are_not_there_are_named_where_the_stage_is_given_the_source(
    tmp_path: Path,
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    build = shell("build", "make", inputs=["src", "scr", "link"], outputs=["out"])
    test = shell("test", "make test", inputs=["out", "else"])
    late = shell("late", "make", inputs=["docs/late"])
    graph = Graph.of(
        {"test": test(build(SOURCE)), "late": late(gate(SOURCE, build(SOURCE)))},
    )
    assert sorted(missing_inputs(graph, tmp_path)) == [
        f"stage build: there is no scr in {tmp_path}",
        f"stage late: there is no docs/late in {tmp_path}",
    ]


def test_a_sandbox_that_cannot_be_had_is_told_of_the_stages_that_must_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boxed = shell("boxed", "make", sandbox=True)
    either = shell("either", "make", sandbox="auto")
    graph = Graph.of({"a": boxed(SOURCE), "b": either(SOURCE)})
    monkeypatch.setenv("PATH", "")
    (note,) = missing_sandbox([*stages(graph)])
    assert note.startswith("boxed: cannot be run in a sandbox here: bubblewrap is missing")
    assert not [*missing_sandbox([*stages(Graph.of({"b": either(SOURCE)}))])]
