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
from collections.abc import Callable
from pathlib import Path

from datakit_ci.conditions import Conditions
from datakit_ci.procfs import descendants_of, resident_memory

__all__ = ["LimitWatch", "apply_limits", "disk_is_full"]

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


class LimitWatch:
    """Calls ``exceeded``, in a thread, once this process and those below it exceed a limit.

    The first look is after the first interval: most builds that are quick are never looked at.
    """

    def __init__(self, conditions: Conditions, exceeded: Callable[[str], None]) -> None:
        """Begin to watch; ``exceeded`` is given a sentence for people."""
        self._conditions = conditions
        self._exceeded = exceeded
        self._over = threading.Event()
        self._judging = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """Watch no more: when this returns, ``exceeded`` is not and will not be called."""
        with self._judging:
            self._over.set()

    def _watch(self) -> None:
        problem = ""
        while not problem:
            if self._over.wait(_INTERVAL):
                return
            problem = _problem(self._conditions)
        with self._judging:
            if not self._over.is_set():
                self._exceeded(problem)


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
