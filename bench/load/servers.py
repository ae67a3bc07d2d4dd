"""Servers to be measured, each in a process of its own, on a free port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

__all__ = ["Running", "datakit", "diod", "echo"]


@dataclass(frozen=True, slots=True)
class Running:
    """A server.

    Attributes:
        port: Where it listens on loopback.
        pid: Its process.
    """

    port: int
    pid: int


@contextlib.contextmanager
def datakit(repository: Path) -> Iterator[Running]:
    """``datakit serve`` on a repository, as people run it."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "datakit_core.cli", "serve", "--git", repository),
            "--listen-9p=tcp://127.0.0.1:0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r"tcp://127\.0\.0\.1:(\d+)", server.stdout.readline())
        if found is None:
            raise SystemExit("datakit serve has not started")
        yield Running(int(found[1]), server.pid)
    finally:
        server.terminate()
        server.communicate()


@contextlib.contextmanager
def diod(directory: Path) -> Iterator[Running]:
    """``diod`` on a directory, without authentication."""
    program = shutil.which("diod", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise SystemExit("diod is not there: install Debian's package diod")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [
            *(program, "--foreground", "--no-auth", "--no-userdb", "--logdest", "stderr"),
            *("--export", directory, "--listen", f"127.0.0.1:{port}"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, server)
        yield Running(port, server.pid)
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def echo(sizes: dict[int, int]) -> Iterator[Running]:
    """An asyncio protocol that answers every message without looking at it.

    Args:
        sizes: The size of the reply's body by the type of the request; for Tread (116) what is
            asked for is added.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_echo, args=(sizes, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Running(ours.recv(), process.pid or 0)
    finally:
        process.terminate()
        process.join()


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return when somebody listens on the port."""
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise SystemExit(f"{server.args!r} has ended with status {server.returncode}")


class _Echo(asyncio.Protocol):
    """The least that an asyncio server can do for each message."""

    transport: asyncio.Transport

    def __init__(self, sizes: dict[int, int]) -> None:
        self._replies = {kind: self._reply(kind, size) for kind, size in sizes.items()}
        self._left = b""

    @staticmethod
    def _reply(kind: int, size: int) -> tuple[bytes, bytes]:
        return (7 + size).to_bytes(4, "little") + bytes([kind + 1]), bytes(size)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer, at, out = self._left + data, 0, []
        while at + 7 <= len(buffer):
            end = at + int.from_bytes(buffer[at : at + 4], "little")
            if end > len(buffer):
                break
            kind = buffer[at + 4]
            head, body = self._replies[kind]
            if kind == 116:
                head, body = self._read(int.from_bytes(buffer[end - 4 : end], "little"))
            out += [head, buffer[at + 5 : at + 7], body]
            at = end
        self._left = buffer[at:]
        self.transport.write(b"".join(out))

    def _read(self, count: int) -> tuple[bytes, bytes]:
        found = self._replies.get(-count)
        if found is None:
            found = self._replies[-count] = self._reply(116, count + 4)
        return found


def _echo(sizes: dict[int, int], ready: Connection) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Echo(sizes), "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
