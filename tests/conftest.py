"""What every test relies on: skips that fail in CI, so that a missing tool cannot hide."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.support.blocking import nothing_blocks

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Who is started in the background by a shell ignores Ctrl-C, and so would every child:
    # the tests that press it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes depends on what else the machine does; a test has a time limit.
settings.register_profile("datakit", deadline=None)
settings.load_profile("datakit")


_TOGETHER = ("tests/integration/containers/", "tests/integration/test_network_cuts.py")
"""Tests that share what one process has: a container engine and its images, a network."""

_CLUSTER = re.compile(r"[\[-]dask[\]-]")
"""In the names of tests that share a cluster of Dask, which one process has."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give processes of pytest-xdist single tests, but those that belong together as one."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if found := next((each for each in _TOGETHER if nodeid.startswith(each)), ""):
                return found
            return "dask" if _CLUSTER.search(nodeid) else nodeid

    return Scheduling(config, log)


@pytest.fixture
def nonblocking() -> Generator[None, None, None]:
    """Whatever blocks the event loop raises where it is called."""
    with nothing_blocks():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ``CI=true`` a test that would skip for a missing tool fails instead."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report
