"""Pipelines are Python files: importing one, and saying where in it an error is."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.abc
import importlib.util
import linecache
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datakit_ci.place import place
from datakit_ci.spec import StageSpec
from datakit_ci.stage import PIPELINE_MODULE, Stage
from datakit_core.errors import ConfigError

__all__ = ["import_pipeline", "load_stage", "located"]


class _Loader(importlib.abc.SourceLoader):
    """Imports from bytes read once: what runs, its fingerprints and its tracebacks agree.

    No byte code is written beside the pipeline: it may be in a tree that is being tested.
    """

    def __init__(self, path: Path, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._source

    def source_to_code(self, data: Any, path: Any = "<string>") -> types.CodeType:  # type: ignore[override]
        """Compile, after a look for what Python would pass over in silence."""
        tree = ast.parse(data, path)
        _refuse_repeated_keys(tree, str(path))
        return compile(tree, path, "exec", dont_inherit=True)


def _refuse_repeated_keys(tree: ast.AST, path: str) -> None:
    """Of two jobs that a dictionary writes under one name, Python drops the first."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        seen: set[str] = set()
        for key in node.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if key.value in seen:
                    raise ConfigError(
                        f"{key.value!r} is there twice: of two jobs of one name only the last "
                        "would be seen; give one another name",
                        place(path, key.lineno),
                    )
                seen.add(key.value)


def import_pipeline(path: Path) -> types.ModuleType:
    """Import the file ``path`` as a module, anew each time, with the modules beside it.

    These can be imported by it, as if it had been started as a script.

    Raises:
        ConfigError: The file cannot be read, is not Python, or raises an exception.
    """
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the pipeline: {error.strerror}", str(path)) from error
    name = PIPELINE_MODULE + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    loader = _Loader(path, source)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    linecache.checkcache()
    before = {name: sys.modules[name] for name in (name, *_neighbours(path)) if name in sys.modules}
    for each in before:
        del sys.modules[each]
    sys.modules[name] = module
    try:
        with _beside(path), located(path):
            loader.exec_module(module)
    except BaseException:
        for each in (name, *_neighbours(path)):
            sys.modules.pop(each, None)
        sys.modules.update(before)
        raise
    return module


def _neighbours(path: Path) -> list[str]:
    """The modules that lie beside ``path``: they are part of the pipeline.

    Packages are not, and a pipeline at the root of a project does not lose the project's own.
    """
    return [
        name
        for name, module in sys.modules.items()
        if "." not in name
        and name != "__main__"
        and not name.startswith(PIPELINE_MODULE)
        and (file := getattr(module, "__file__", None)) is not None
        and not file.endswith("__init__.py")
        and Path(file).parent == path.parent
    ]


def load_stage(path: Path, spec: StageSpec) -> Stage[...]:
    """Find the Python stage ``spec`` of the pipeline at ``path``, to run it.

    Raises:
        ConfigError: The pipeline does not load, or has no such stage, or another one by now.
    """
    module = import_pipeline(path)
    with _beside(path.resolve()), located(path):
        found: object = importlib.import_module(spec.module) if spec.module else module
        for name in spec.command.split("."):
            found = getattr(found, name, None)
    if not isinstance(found, Stage) or found.function is None:
        where = spec.module or place(str(path))
        raise ConfigError(f"there is no stage {spec.command}: did the file change?", where)
    if found.spec.fingerprint != spec.fingerprint:
        # Running it would record what the new code makes under the name of the old.
        where = spec.module or place(str(path))
        raise ConfigError(f"stage {spec.name} has changed since it was asked for", where)
    return found


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let modules beside ``path`` be imported."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the pipeline may have changed the path itself
            sys.path.remove(folder)


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Turn any exception into a ``ConfigError`` that names the line of ``path`` it came through."""
    try:
        yield
    except SyntaxError as error:
        where = place(error.filename or str(path), error.lineno or 1)
        raise ConfigError(f"syntax error: {error.msg}", where) from error
    except ConfigError as error:
        if error.where:
            raise
        raise ConfigError(str(error), _line_in(path, error)) from error
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError(text, _line_in(path, error)) from error


def _line_in(path: Path, error: BaseException) -> str:
    """``FILE:LINE`` of the innermost frame in ``path``; only the file if there is none."""
    own = str(path.resolve())
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own
    ]
    return place(own, lines[-1] if lines else None)
