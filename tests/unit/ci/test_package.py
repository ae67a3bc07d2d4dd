"""The package: what pipelines import, under names that modules do not take over."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import datakit_ci


def test_what_is_exported_is_sorted_and_there() -> None:
    assert list(datakit_ci.__all__) == sorted(datakit_ci.__all__)
    for name in datakit_ci.__all__:
        assert hasattr(datakit_ci, name)


def test_functions_are_not_hidden_by_the_modules_of_their_name() -> None:
    for module in pkgutil.iter_modules(datakit_ci.__path__):
        if module.name != "__main__":  # importing that is running it
            importlib.import_module(f"datakit_ci.{module.name}")
    assert callable(datakit_ci.stage)
    assert callable(datakit_ci.state)


@pytest.mark.parametrize("module", ["datakit_ci", "datakit_ci.stage", "datakit_core.client.api"])
def test_what_a_pipeline_imports_is_light(module: str) -> None:
    """Each build's child and each ``check`` pays for it."""
    heavy = {"aiohttp", "asyncio", "datakit_core.ninep", "pydantic", "pygit2", "rich", "typer"}
    program = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded.isdisjoint(heavy), loaded & heavy
