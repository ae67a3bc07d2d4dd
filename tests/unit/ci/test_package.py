"""The package: what pipelines import, under names that modules do not take over."""

from __future__ import annotations

import importlib
import pkgutil

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
