"""What a server asks of its process: open files, memory used again, collection of garbage later."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["allow_open_files", "collecting_when_idle", "keep_freed_memory"]

_OPEN_FILES = 65_536

_KEPT = 16 << 20
"""Bytes of freed memory that the process keeps at the end of its heap."""

_MAPPED = 4 << 20
"""Bytes of an allocation from which on the kernel is asked for it, and has it back at once."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""Parameters of mallopt(3), as in glibc's malloc.h."""

_YOUNG = 10_000
"""Objects after which the young ones are looked at; that takes about a millisecond."""

_NEVER = 1_000_000_000
_LOOK = 1.0
"""Seconds between two looks at whether the process is idle."""

_IDLE = 0.05
"""The part of that time that an idle process computes at most."""

_LONG = 30
"""Idle looks in a row after which nobody is likely to be in the midst of something large."""

_AT_LEAST = 600
"""Looks after which a full collection is due, idle or not."""


def allow_open_files() -> None:
    """Let the process have as many open files as the system permits; a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_freed_memory() -> bool:
    """Let the next large message use the memory of the last one; whether the C library can.

    A read of a mebibyte takes two buffers of that size for a moment. glibc gives them back to the
    kernel after each, which then clears every page of the next: 512 page faults, ten and more
    times as long as the copying itself. Only glibc has this habit, and mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # Setting either keeps glibc from choosing both by itself, so both are set.
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED) and mallopt(_M_TRIM_THRESHOLD, _KEPT))


@contextmanager
def collecting_when_idle() -> Iterator[None]:
    """Look for cycles of garbage among old objects when nothing else is to be done.

    A full collection looks at every object there is: with a large transaction open, that takes a
    tenth of a second or more, and nothing can interrupt it. It finds little, as connections take
    apart what they leave. What was there at the start is never looked at again. Belongs to the
    running event loop.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, _NEVER)
    collector = _Collector()
    try:
        yield
    finally:
        collector.close()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class _Collector:
    """Looks every second."""

    def __init__(self) -> None:
        self._looks, self._idle, self._used = 0, 0, time.process_time()
        self._start()

    def close(self) -> None:
        self._timer.cancel()

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._looks += 1
        before, self._used = self._used, time.process_time()
        self._idle = self._idle + 1 if self._used - before < _IDLE * _LOOK else 0
        if (self._idle >= _LONG and gc.get_count()[2]) or self._looks >= _AT_LEAST:
            gc.collect()
            self._looks, self._idle, self._used = 0, 0, time.process_time()
        self._start()
