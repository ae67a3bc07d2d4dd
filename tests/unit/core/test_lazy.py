"""Packages that import part of their API when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import datakit_core.client
import datakit_core.store

HIDDEN = """
import importlib, pkgutil, types
import {package} as package
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(package.__name__ + "." + module.name)
print(*(name for name in package.__all__ if isinstance(getattr(package, name), types.ModuleType)))
"""


@pytest.mark.parametrize("package", [datakit_core.client, datakit_core.store])
class TestPackage:
    """What holds for each of them."""

    def test_has_what_it_exports(self, package: ModuleType) -> None:
        for name in package.__all__:
            assert getattr(package, name) is not None

    def test_names_are_not_hidden_by_modules(self, package: ModuleType) -> None:
        """Importing a module binds its name in the package; here before anything else is asked."""
        program = HIDDEN.format(package=package.__name__)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == []

    def test_does_not_know_other_names(self, package: ModuleType) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'absent'"):
            package.absent  # noqa: B018 - looking is the test

    def test_has_all_its_names_for_a_star(self, package: ModuleType) -> None:
        names: dict[str, object] = {}
        exec(f"from {package.__name__} import *", names)
        assert names.keys() >= set(package.__all__)
