"""Run a command that must not outlive who started it: ``python leash.py LOCK COMMAND...``.

Standard input is the leash: when it closes, however the process at its other end has ended, the
command and all that it started are ended. Meanwhile the file LOCK is locked (flock(2)), so that
there is one such command at a time; all parts of it hold the lock, so it lasts as long as any.

The command runs at the lowest priority. A file of its own that imports next to nothing, since
it is started often, and read by its path, so that it starts quickly.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

__all__ = ["BUSY"]

BUSY = 75
"""The exit status if somebody else has the lock (EX_TEMPFAIL of sysexits.h)."""

_GRACE = 1.0
_IOPRIO_PROCESS, _IDLE = 1, 3 << 13
_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}


def _main(lock: str, command: list[str]) -> int:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    _lower_priority()
    signal.signal(signal.SIGTERM, lambda *_: None)  # the leash tells; a handler is not inherited
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=[descriptor], start_new_session=True
    )
    threading.Thread(target=_hold, args=(child.pid,), daemon=True).start()
    return child.wait()


def _hold(group: int) -> None:
    """Wait for the leash to be let go of; then end the command."""
    while os.read(0, 1 << 10):
        pass
    try:
        os.killpg(group, signal.SIGTERM)  # Git then removes what it has half written
        time.sleep(_GRACE)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _lower_priority() -> None:
    os.nice(19)
    number = _SYS_IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        import ctypes  # only where it is of use

        ctypes.CDLL(None).syscall(number, _IOPRIO_PROCESS, 0, _IDLE)  # ioprio_set(2)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
