"""Running a Python stage, in the build's child process."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datakit_ci.executors.adapters import Finished, finish
from datakit_ci.executors.protocol import Ending, Verdict
from datakit_ci.executors.workspace import Checkout
from datakit_ci.lookup import TreeReader
from datakit_ci.pipeline import load_stage
from datakit_ci.spec import StageSpec
from datakit_ci.stage import StageFailed, StageTransient
from datakit_ci.trace import Tracer
from datakit_ci.tree import PlainTree, Tree
from datakit_core.client.api import TreeId
from datakit_core.errors import InvalidName

__all__ = ["enter", "run_function"]


def enter(directory: Path, environment: Mapping[str, str]) -> None:
    """Go to a new directory, and take on all of ``environment`` and nothing else."""
    directory.mkdir()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)


def run_function(
    pipeline: Path, spec: StageSpec, reader: TreeReader, tree: TreeId, outputs: Path
) -> Ending:
    """Run a stage's function and write what it returns into the new directory ``outputs``.

    What it looks at is noted; so is what it returns, if that is part of its input.

    Args:
        pipeline: The file to import it from.
        spec: The stage.
        reader: Where ``tree`` is read from, without ever waiting.
        tree: What the function is given.
        outputs: Made here.

    Raises:
        Exception: Whatever the function raises, except for ``StageFailed`` and ``StageTransient``.
    """
    function = load_stage(pipeline, spec).function
    assert function is not None
    tracer = Tracer()
    given = Tree(tree, reader, tracer.observe)
    try:
        if inspect.iscoroutinefunction(function):
            made = asyncio.run(function(given, **spec.arguments))
        else:
            made = function(PlainTree(given, finish), **spec.arguments)
    except StageFailed as failure:
        ending = Ending(Verdict.FAILED, str(failure) or "failed")
    except StageTransient as failure:
        ending = Ending(Verdict.TRANSIENT, str(failure) or "failed for a passing reason")
    else:
        ending = _write(made, outputs)
    return replace(ending, questions=tracer.questions)


def _write(made: object, outputs: Path) -> Ending:
    """Write a stage's value; one that is none of those is the function's fault, and a result."""
    if isinstance(made, Path) and made.is_dir():
        shutil.copytree(made, outputs, symlinks=True)
        return Ending(Verdict.PASSED)
    try:
        tree = _as_tree(made)
    except (InvalidName, AttributeError, TypeError) as error:
        return Ending(Verdict.FAILED, f"returned files that cannot be a tree: {error}")
    if tree is None or tree.reader is None:
        return Ending(Verdict.FAILED, f"returned {made!r}: return a tree, files or a directory")
    Checkout(Finished(tree.reader), tree.id, outputs).prepare()
    return Ending(Verdict.PASSED)


def _as_tree(made: object) -> Tree | None:
    match made:
        case Tree():
            return made
        case PlainTree(tree=tree):
            return tree
        case Mapping():
            return Tree.from_files(made)
        case _:
            return None
