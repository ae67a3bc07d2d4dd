"""How many requests a second the 9P server answers, and how fast it moves data.

The server runs in a process of its own, and one blocking client asks it for 100 bytes of a file
in memory: one request at a time, then with 32 outstanding; then walk, open, read and clunk with
32 chains at once; then 64 KiB and 1 MiB reads. Beside it runs an echo: an asyncio protocol that
sends as many bytes for each frame without looking at it. It shows what Python and the kernel
allow on the machine at that moment, so that the ratio means something on any machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from datakit_core.ninep import PLAIN, ConnectionLimits, serve
from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.messages import (
    Record,
    Tattach,
    Tclunk,
    Topen,
    Tread,
    Tversion,
    Twalk,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Tag
from datakit_core.vfs import StaticDirectory, TextFile

SECONDS = 1.0
"""How long each figure is measured; the best of :data:`ROUNDS` counts."""
ROUNDS = 3
SMALL, MEDIUM, LARGE = 100, 1 << 16, 1 << 20
MSIZE = LARGE + 24
DEPTH = 32

codec = codec_for(PLAIN)


@dataclass(frozen=True, slots=True)
class Load:
    """One thing to measure: requests sent together, and the bytes that answer them."""

    name: str
    requests: tuple[Record, ...]
    reply_sizes: tuple[int, ...]
    unit: str = "requests/s"

    @property
    def frames(self) -> bytes:
        """The requests as bytes, each with its tag."""
        return b"".join(codec.encode(Tag(tag), each) for tag, each in enumerate(self.requests))

    def figure(self, rounds_per_second: float) -> float:
        """The rate in the load's unit."""
        if self.unit == "MB/s":
            return rounds_per_second * sum(self.reply_sizes) / 1e6
        return rounds_per_second * len(self.requests)


def loads() -> list[Load]:
    """Everything that is measured; fids 1 to 3 are open files of three sizes."""
    small, medium, large = (
        Tread(Fid(fid), 0, size) for fid, size in ((1, SMALL), (2, MEDIUM), (3, LARGE))
    )
    chains: list[Record] = []
    for fid in range(10, 10 + DEPTH):
        names = ("d", "small")
        chains += [Twalk(Fid(0), Fid(fid), names), Topen(Fid(fid), 0)]
        chains += [Tread(Fid(fid), 0, SMALL), Tclunk(Fid(fid))]
    return [
        Load("one at a time", (small,), (11 + SMALL,)),
        Load(f"{DEPTH} outstanding", (small,) * DEPTH, (11 + SMALL,) * DEPTH),
        Load("walk open read clunk", tuple(chains), (35, 24, 11 + SMALL, 7) * DEPTH),
        Load("64 KiB reads", (medium,) * 4, (11 + MEDIUM,) * 4, "MB/s"),
        Load("1 MiB reads", (large,) * 2, (11 + LARGE,) * 2, "MB/s"),
    ]


def main() -> None:
    """Print a table: our server, the echo, and the ratio."""
    print(f"{'':24}{'server':>12}{'echo':>12}{'ratio':>8}")
    with TemporaryDirectory() as directory:
        ours, floor = Path(directory) / "9p", Path(directory) / "echo"
        with _process(_serve, ours), _process(_echo, floor):
            for load in loads():
                server, echo = _best(ours, load), _best(floor, load)
                ratio = server / echo
                print(f"{load.name:24}{server:12,.0f}{echo:12,.0f}{ratio:8.2f}  {load.unit}")


def _best(path: Path, load: Load) -> float:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        if path.name == "9p":
            _prepare(connection)
        else:
            sizes = ",".join(map(str, load.reply_sizes)).encode()
            connection.sendall(len(sizes).to_bytes(4, "little") + sizes)
        return max(_measure(connection, load) for _ in range(ROUNDS))


def _measure(connection: socket.socket, load: Load) -> float:
    """How often all requests of the load are answered in a second."""
    frames, expected = load.frames, sum(load.reply_sizes)
    buffer = bytearray(1 << 20)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        connection.sendall(frames)
        left = expected
        while left:
            left -= connection.recv_into(buffer, min(left, len(buffer)))
        count += 1
    return load.figure(count / elapsed)


def _prepare(connection: socket.socket) -> None:
    """Begin the session and open the files, checking each reply."""
    requests: list[Record] = [Tversion(MSIZE, "9P2000"), Tattach(Fid(0), NO_FID, "", "")]
    for fid, name in ((1, "small"), (2, "medium"), (3, "large")):
        requests += [Twalk(Fid(0), Fid(fid), ("d", name)), Topen(Fid(fid), 0)]
    for request in requests:
        connection.sendall(codec.encode(NO_TAG, request))
        head = connection.recv(4, socket.MSG_WAITALL)
        size = int.from_bytes(head, "little")
        _, reply = codec.decode(head + connection.recv(size - 4, socket.MSG_WAITALL))
        if reply.number != request.number + 1:
            raise SystemExit(f"{request} was answered {reply}")


@contextlib.contextmanager
def _process(target: Callable[[Path, Connection], None], path: Path) -> Iterator[None]:
    """A server in a process of its own, listening when the body begins."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(path, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()  # EOFError if it could not start
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve(path: Path, ready: Connection) -> None:
    files = [
        TextFile(name, bytes(size))
        for name, size in (("small", SMALL), ("medium", MEDIUM), ("large", LARGE))
    ]
    root = StaticDirectory("/", [StaticDirectory("d", files)])

    async def run() -> None:
        async with serve(lambda _: root, f"unix://{path}", limits=ConnectionLimits()) as server:
            ready.send(None)
            await server.serve_forever()

    asyncio.run(run())


class _Echo(asyncio.Protocol):
    """Answers each frame with as many bytes as the client said in the beginning."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._replies: list[bytes] = []
        self._next = 0
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._replies:
            length = int.from_bytes(data[:4], "little")
            self._replies = [bytes(int(size)) for size in data[4 : 4 + length].split(b",")]
            data = data[4 + length :]
        buffer, at, out = self._left + data, 0, []
        while at + 4 <= len(buffer):
            end = at + int.from_bytes(buffer[at : at + 4], "little")
            if end > len(buffer):
                break
            out.append(self._replies[self._next])
            self._next = (self._next + 1) % len(self._replies)
            at = end
        self._left = buffer[at:]
        self.transport.write(b"".join(out))


def _echo(path: Path, ready: Connection) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(_Echo, str(path))
        ready.send(None)
        await server.serve_forever()

    asyncio.run(run())
