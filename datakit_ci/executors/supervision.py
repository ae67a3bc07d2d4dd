"""How a build's child process makes sure that nothing outlives it, and that it outlives nobody.

The child adopts every orphan below it (``PR_SET_CHILD_SUBREAPER``, prctl(2)), so that it can find
and kill even what has left all process groups. It is asked to stop with SIGTERM; if the engine is
killed, a thread sees the end of the life line and sends that SIGTERM itself. In both cases a
deadline starts, at which the child kills everything below it, and itself.

Linux only, as are process descriptors in :mod:`datakit_ci.process`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from types import FrameType

from datakit_ci.procfs import children_of, descendants_of

__all__ = ["Stopped", "Supervision", "sweep", "wait_for_all"]

_PR_SET_CHILD_SUBREAPER = 36


class Stopped(BaseException):
    """The build is to end now; not an ``Exception``, so that user code does not catch it."""


class Supervision:
    """The child's side of being stopped.

    Attributes:
        command_group: The process group of the running command, which is told to stop too.
        grace: Seconds that what is below us has to end when we are stopped.
    """

    def __init__(self, grace: float) -> None:
        """Leave what is below us ``grace`` seconds to end when we are stopped."""
        self.command_group: int | None = None
        self.grace = grace

    def begin(self, life_line: int) -> None:
        """Adopt orphans, and listen to SIGTERM and to the end of the file ``life_line``.

        Call it once, from the main thread: :class:`Stopped` is raised there.
        """
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, self._on_stop)
        threading.Thread(target=_watch, args=(life_line,), daemon=True).start()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=self._enforce, daemon=True).start()
        if self.command_group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.command_group, signal.SIGTERM)
        raise Stopped

    def _enforce(self) -> None:
        """Runs in a thread of its own: user code may hold the main one."""
        time.sleep(self.grace)
        sweep()
        os.killpg(0, signal.SIGKILL)


def _watch(life_line: int) -> None:
    """Block until the other end is closed, which happens only when the engine is gone."""
    while os.read(life_line, 4096):
        pass
    os.killpg(0, signal.SIGTERM)


def wait_for_all() -> None:
    """Wait until all processes below this one have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def sweep() -> int:
    """Kill all processes below this one; when it returns there are none.

    A killed process's children become ours, so this goes on until none are left.

    Returns:
        How many were killed.
    """
    killed: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                below = descendants_of(os.getpid())
                for pid in below:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                for pid in children_of(os.getpid()):
                    _kill(pid)
                killed.update(below)
    return len(killed)


def _kill(pid: int) -> None:
    """Kill a child and wait for it by its id: another thread may be waiting for it too."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
