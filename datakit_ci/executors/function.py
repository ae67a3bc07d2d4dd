"""Running a Python stage, in the build's child process."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from datakit_ci.executors.protocol import Ending, Verdict
from datakit_ci.executors.workspace import Checkout, ObjectReader
from datakit_ci.pipeline import load_stage
from datakit_ci.spec import StageSpec
from datakit_ci.stage import StageFailed
from datakit_ci.tree import PlainTree, Tree, TreeReader
from datakit_core.client.api import BlobId, Entry, TreeId
from datakit_core.errors import InvalidName

__all__ = ["run_function"]

T = TypeVar("T")


def enter(directory: Path, environment: Mapping[str, str]) -> None:
    """Go to a new directory, and take on all of ``environment`` and nothing else."""
    directory.mkdir()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)


def run_function(
    pipeline: Path, spec: StageSpec, reader: ObjectReader, tree: TreeId, outputs: Path
) -> Ending:
    """Run a stage's function and write what it returns into the new directory ``outputs``.

    Args:
        pipeline: The file to import it from.
        spec: The stage.
        reader: Where ``tree`` is read from.
        tree: What the function is given.
        outputs: Made here.

    Raises:
        Exception: Whatever the function raises, except for ``StageFailed``.
    """
    function = load_stage(pipeline, spec).function
    assert function is not None
    given = Tree(tree, _Async(reader))
    try:
        if inspect.iscoroutinefunction(function):
            made = asyncio.run(function(given, **spec.arguments))
        else:
            made = function(PlainTree(given, _finish), **spec.arguments)
    except StageFailed as failure:
        return Ending(Verdict.FAILED, str(failure) or "failed")
    return _write(made, outputs)


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
    Checkout(_Sync(tree.reader), tree.id, outputs).prepare()
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


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really waits, as those over :class:`_Async` do not."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a tree of another event loop cannot be read here")


class _Async:
    """An object reader as the ``TreeReader`` that trees use."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        return self._reader.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        return self._reader.blob(blob)


class _Sync:
    """The other way round: a tree that a function returned, to be written to files."""

    def __init__(self, reader: TreeReader) -> None:
        self._reader = reader

    def tree(self, tree: TreeId, /) -> Mapping[str, Entry]:
        return _finish(self._reader.tree(tree))

    def blob(self, blob: BlobId, /) -> bytes:
        return _finish(self._reader.blob(blob))
