"""The list of plugins names what there is to import."""

from __future__ import annotations

from importlib import import_module

import pytest

from datakit_ci.plugins import PLUGINS


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_has_what_its_line_promises(name: str) -> None:
    plugin = import_module(f"datakit_ci.plugins.{name}")
    promised = PLUGINS[name].partition(": ")[2].split(", ")
    assert set(promised) <= set(plugin.__all__)
