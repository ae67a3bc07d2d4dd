"""Importing a pipeline from a tree and writing down its jobs, in the build's child process.

What the pipeline does wrong is a result of this process, recorded like a failed test; whatever it
does besides (print, block, exit, use up memory) is dealt with as for any build.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from pathlib import Path

from datakit_ci.blueprint import encode
from datakit_ci.executors.protocol import Ending, Verdict
from datakit_ci.executors.workspace import Checkout, ObjectReader
from datakit_ci.inquiries import GRAPH
from datakit_ci.project import Project, load_jobs
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target
from datakit_core.client.api import TreeId
from datakit_core.errors import ConfigError

__all__ = ["draft", "lay_out"]


def lay_out(reader: ObjectReader, tree: TreeId, path: str, directory: Path) -> Path:
    """Write the directory of the pipeline ``path`` below the new ``directory``; returns its file.

    It lies as it does in the repository, so that messages name it as its author does.
    """
    file = directory / path
    file.parent.parent.mkdir(parents=True)
    Checkout(reader, tree, file.parent).prepare()
    return file


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
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    project = environment["DATAKIT_PROJECT"]
    try:
        target = Target.parse(project, str(spec.arguments["target"]))
        graph = Project(project, load_jobs(file)).graph(target)
        data = encode(graph, project)
    except ConfigError as error:
        traceback.print_exception(error.__cause__ or error)
        return Ending(Verdict.FAILED, str(error) if error.where else f"{spec.command}: {error}")
    outputs = directory / "outputs"
    outputs.mkdir()
    (outputs / GRAPH).write_bytes(data)
    return Ending(Verdict.PASSED)
