"""The process from which builds are forked: ``python -m datakit_ci.executors.forkserver``.

A build's process needs a tenth of a second to import what it is made of. This one has done so
before, and runs no user code: pipelines are imported by the builds, anew each time. It has one
thread, and speaks with the engine over its standard input, a socket of whole messages
(``SOCK_SEQPACKET``, unix(7)): see :class:`~datakit_ci.executors.forking.ForkServer`.

When the engine is gone the socket ends, and so does this process. Builds have life lines of their
own: they outlive this process, but not the engine.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

# Imported for the builds that are forked; pipelines import the package, and functions asyncio.
import datakit_ci
import datakit_ci.executors.drafting
import datakit_ci.executors.function  # noqa: F401
from datakit_ci.executors import child, reused
from datakit_ci.fingerprint import prepare

__all__ = ["PIPES", "main"]

PIPES = 3
"""Descriptors that come with a message: what a build reads, prints, and prints as errors.

One more for who is to run several: the socket that they come by.
"""

_MESSAGE = 1 << 16


def main() -> int:
    """Fork builds until the engine closes the socket."""
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    prepare()
    gc.collect()
    gc.freeze()  # so that a collection in a build does not copy every page
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the engine has gone
        _Server(control).serve()
    return 0


class _Server:
    """Forks, tells how each build's process ended, and keeps it as a zombie until that is known.

    Until then its id cannot be another process's, so the engine may signal its group.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Work until the end of the socket."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._report(key.fd, key.data)
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Do what the next message says; false at the end."""
        message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, PIPES + 1)
        if not message:
            return False
        order = json.loads(message)
        if "reap" in order:
            os.waitpid(order["reap"], 0)
        else:
            self._fork(order["fork"], order["directory"], descriptors)
        return True

    def _fork(self, number: int, directory: str, descriptors: list[int]) -> None:
        ready, readied = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                self._become_build(Path(directory), descriptors, ready, readied)
        except OSError as error:
            self._tell({"refused": number, "reason": str(error)})
            return
        finally:
            for descriptor in (readied, *descriptors):
                os.close(descriptor)
            os.read(ready, 1)  # until the build leads a group, which can be told to stop
            os.close(ready)
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
        self._tell({"started": number, "pid": pid})

    def _report(self, pidfd: int, pid: int) -> None:
        """Say how a process ended: its exit status, or the negative number of a signal."""
        self._selector.unregister(pidfd)
        os.close(pidfd)
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        self._tell({"ended": pid, "status": status})

    def _tell(self, message: dict[str, int | str]) -> None:
        self._control.send(json.dumps(message).encode())

    def _become_build(
        self, directory: Path, descriptors: list[int], ready: int, readied: int
    ) -> NoReturn:
        """Turn this copy of the server into a build's process; never returns."""
        status = 1
        try:
            os.setsid()
            os.close(ready)
            os.close(readied)
            for key in list(self._selector.get_map().values()):
                if key.fileobj is not self._control:
                    os.close(key.fd)
            self._selector.close()
            self._control.close()
            for target, descriptor in enumerate(descriptors[:PIPES]):
                os.dup2(descriptor, target)
                os.close(descriptor)
            os.chdir(directory)
            several = descriptors[PIPES:]
            status = reused.main(socket.socket(fileno=several[0])) if several else child.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the top of a process: what happens is printed
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
