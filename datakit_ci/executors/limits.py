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
from dataclasses import dataclass
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
    """Looks, in a thread, whether this process and those below it exceed what a build may use.

    The first look is after the first interval: most builds that are quick are never looked at.
    The thread stays for the next build, and sleeps for as long as there is none.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._watched: _Watched | None = None
        self._wanted = threading.Event()
        self._judging = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, conditions: Conditions, exceeded: Callable[[str], None]) -> None:
        """Call ``exceeded`` with a sentence for people, once a limit is exceeded."""
        with self._judging:
            self._watched = _Watched(conditions, exceeded)
            self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Watch no more: when this returns, ``exceeded`` is not and will not be called."""
        with self._judging:
            self._watched = None

    def _watch(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(_INTERVAL)
            watched = self._watched
            if watched is None:
                self._rest()
            elif problem := _problem(watched.conditions):
                with self._judging:
                    if self._watched is watched:
                        watched.exceeded(problem)
                        return

    def _rest(self) -> None:
        with self._judging:
            if self._watched is None:
                self._wanted.clear()


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """A build's limits, and what is called when one is exceeded."""

    conditions: Conditions
    exceeded: Callable[[str], None]


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
