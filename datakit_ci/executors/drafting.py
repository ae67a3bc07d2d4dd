"""Importing a pipeline from a tree and writing down its jobs, in the build's child process.

What the pipeline does wrong is a result of this process, recorded like a failed test; whatever it
does besides (print, block, exit, use up memory) is dealt with as for any build.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from datakit_ci.blueprint import encode, follow
from datakit_ci.canonical import JsonValue
from datakit_ci.disk import write_file
from datakit_ci.executors.protocol import Ending, Verdict
from datakit_ci.executors.workspace import Checkout, ObjectReader
from datakit_ci.graph import Graph
from datakit_ci.inquiries import GRAPH
from datakit_ci.parcel import unpack
from datakit_ci.pipeline import located
from datakit_ci.project import Project, load_jobs
from datakit_ci.question import Question, QuestionKind
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target
from datakit_core.client.api import BlobId, TreeId
from datakit_core.errors import ConfigError

__all__ = ["draft", "lay_out"]

_BESIDE = re.compile(r"[^.].*\.py\Z", re.DOTALL)
"""What belongs to a pipeline at the root of a repository, as the pattern ``*.py`` says it."""


def lay_out(reader: ObjectReader, tree: TreeId, path: str, directory: Path) -> Path:
    """Write the directory of the pipeline ``path`` below the new ``directory``; returns its file.

    It lies as it does in the repository, so that messages name it as its author does. Of the root
    of a repository only the Python files are written: whatever else is there is the project's.
    """
    file = directory / path
    file.parent.parent.mkdir(parents=True, exist_ok=True)
    if "/" in path:
        Checkout(reader, tree, file.parent).prepare()
        return file
    file.parent.mkdir()
    for name, entry in reader.tree(tree).items():
        if _BESIDE.match(name) and not entry.is_directory:
            write_file(file.parent / name, entry.mode, reader.blob(BlobId(entry.id)))
    return file


def _looked_at(reader: ObjectReader, tree: TreeId, path: str) -> tuple[Question, ...] | None:
    """What a pipeline is made of; none: all of its directory."""
    if "/" in path:
        return None
    names = sorted(name for name in reader.tree(tree) if _BESIDE.match(name))
    files = (Question(QuestionKind.FILE, name) for name in names)
    return (Question(QuestionKind.GLOB, "*.py"), *files)


def _graph(project: str, spec: StageSpec, file: Path) -> Graph:
    """The graph of the target's jobs; or, of what a function at the end of a way returns."""
    judged = Project(project, load_jobs(file))
    graph = judged.graph(Target.parse(project, str(spec.arguments["target"])))
    way = cast("list[tuple[str, JsonValue]]", spec.arguments.get("way", []))
    with located(file):
        for node, value in way:
            graph = judged.graph_of(follow(graph, node, unpack(value)))
    return graph


def draft(
    spec: StageSpec,
    reader: ObjectReader,
    tree: TreeId,
    directory: Path,
    environment: Mapping[str, str],
) -> Ending:
    """Write the jobs of a target into a file below ``directory``.

    Args:
        spec: Names the pipeline's path, and the target as its parameter.
        reader: Where ``tree`` is read from.
        tree: The directory of the pipeline.
        directory: The build's own.
        environment: All of the environment that the pipeline sees.
    """
    root = directory / "pipeline"
    file = lay_out(reader, tree, spec.command, root)
    asked = _looked_at(reader, tree, spec.command)
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    project = environment["DATAKIT_PROJECT"]
    try:
        data = encode(_graph(project, spec, file), project)
    except ConfigError as error:
        traceback.print_exception(error.__cause__ or error)
        reason = str(error) if error.where else f"{spec.command}: {error}"
        return Ending(Verdict.FAILED, reason, questions=asked)
    outputs = directory / "outputs"
    outputs.mkdir()
    (outputs / GRAPH).write_bytes(data)
    return Ending(Verdict.PASSED, questions=asked)
