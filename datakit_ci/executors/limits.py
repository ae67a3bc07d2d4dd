"""Limits of memory and processes, watched from within a build's child process.

The processes below the child are counted every tenth of a second, and their resident memory is
added up (proc(5)); pages that several of them share count for each. A control group would be
exact, but has to be delegated to the user by the system; ``RLIMIT_AS`` counts what is merely
reserved, which breaks Go, Java and sanitizers. A build that grows by more than is free within a
tenth of a second is for the kernel to kill: its processes are offered first.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

from datakit_ci.conditions import Conditions
from datakit_ci.procfs import descendants_of, resident_memory

__all__ = ["apply_limits", "disk_is_full", "watch_limits"]

_INTERVAL = 0.1
_FIRST_CHOICE = 500
"""Of -1000 to 1000: how much rather the kernel ends a build than a service when memory is short."""
_LITTLE = 1 << 20
"""Bytes: a disk with less space is full for whoever writes more than a line."""


def apply_limits() -> None:
    """What holds for every build: no core dumps, and the first to go when memory is short."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{_FIRST_CHOICE}\n")


def watch_limits(conditions: Conditions, exceeded: Callable[[str], None]) -> None:
    """Call ``exceeded``, in a thread, once this process and those below it exceed a limit.

    The first look is after the first interval: most builds that are quick are never looked at.
    """
    watch = threading.Thread(target=_watch, args=(conditions, exceeded), daemon=True)
    watch.start()


def _watch(conditions: Conditions, exceeded: Callable[[str], None]) -> None:
    problem = ""
    while not problem:
        time.sleep(_INTERVAL)
        problem = _problem(conditions)
    exceeded(problem)


def _problem(conditions: Conditions) -> str:
    pids = descendants_of(os.getpid())
    if len(pids) > conditions.processes:
        return f"had more than the {conditions.processes} processes that it may have"
    if conditions.memory and resident_memory([os.getpid(), *pids]) > conditions.memory:
        return f"used more than the {conditions.memory} bytes of memory that it may use"
    return ""


def disk_is_full(directory: Path) -> bool:
    """Whether what failed there may have failed for lack of space."""
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize < _LITTLE or (space.f_files > 0 and not space.f_favail)
