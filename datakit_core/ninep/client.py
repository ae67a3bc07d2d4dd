"""A client for any 9P server.

::

    async with connect("tcp://127.0.0.1:5640") as client:
        print(await client.read(["branch", "master", "head"]))

A path is a sequence of names, since a name may hold a slash. Calls may overlap, and each may be
cancelled: the server then forgets the request, and no fid stays behind.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from datakit_core.errors import ClientError, DatakitError, Disconnected, IoFailed, NoEntry
from datakit_core.ninep.calls import Abandoned, Calls
from datakit_core.ninep.codec import READ_HEADER_SIZE, codec_for
from datakit_core.ninep.dialect import PLAIN, UNIX, Dialect, negotiate
from datakit_core.ninep.endpoint import (
    Endpoint,
    FdEndpoint,
    TcpEndpoint,
    TlsEndpoint,
    UnixEndpoint,
    parse_endpoint,
)
from datakit_core.ninep.messages import (
    KEEP,
    NAMES_PER_WALK,
    Mode,
    OpenMode,
    Rattach,
    Rcreate,
    Record,
    Ropen,
    Rread,
    Rremove,
    Rstat,
    Rversion,
    Rwalk,
    Rwrite,
    Rwstat,
    Tattach,
    Tclunk,
    Tcreate,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Tversion,
    Twalk,
    Twrite,
    Twstat,
    WireStat,
)
from datakit_core.ninep.silence import PATIENCE
from datakit_core.ninep.wire import NO_FID, Fid
from datakit_core.tls import client_context

__all__ = ["Client", "OpenFile", "connect"]

_WRITE_HEADER_SIZE = 23
_ROOT = Fid(0)
_SPOKEN = (PLAIN.version, UNIX.version)


@asynccontextmanager
async def connect(
    address: str | Endpoint,
    *,
    dialect: Dialect = UNIX,
    msize: int = 1 << 20,
    uname: str = "datakit",
    aname: str = "",
    patience: float = PATIENCE,
) -> AsyncIterator[Client]:
    """Connect to a server, agree on the protocol and attach.

    Args:
        address: An endpoint, or its URL.
        dialect: What to ask for; the server may answer with a simpler one. 9P2000.L is for kernels
            and has other requests than this client makes.
        msize: The longest message to ask for.
        uname: The user's name; our own server ignores it.
        aname: Which tree of the server.
        patience: Seconds of silence after which the server counts as gone, and the connection
            ends: not those that a request takes, but those without any sign of its machine.

    Raises:
        ConfigError: The address makes no sense.
        Disconnected: Nobody answers there.
        ClientError: The server speaks something else, or 9P2000.L was asked for.
    """
    if dialect.version not in _SPOKEN:
        raise ClientError(f"this client does not speak {dialect.version}; ask for 9P2000.u")
    endpoint = parse_endpoint(address) if isinstance(address, str) else address
    calls = await _connected(endpoint, msize, patience)
    try:
        version = await calls.call(Tversion(msize, dialect.version), Rversion)
        agreed = negotiate(version.version)
        if agreed is None or agreed.version not in _SPOKEN:
            raise ClientError(f"{endpoint} does not speak {dialect.version}")
        calls.speak(agreed, version.msize)
        await calls.call(Tattach(_ROOT, NO_FID, uname, aname), Rattach)
        yield Client(calls, agreed, version.msize)
    finally:
        await calls.close()


async def _connected(endpoint: Endpoint, msize: int, patience: float) -> Calls:
    try:
        async with asyncio.timeout(patience):
            calls = await _open(endpoint, lambda: Calls(msize))
    except OSError as error:
        problem = error.strerror or str(error) or f"no answer for {patience:g} s"
        raise Disconnected(
            f"cannot connect to {endpoint}: {problem}; is the server running?"
        ) from error
    calls.end_when_silent(patience)
    return calls


async def _open(endpoint: Endpoint, protocol: Callable[[], Calls]) -> Calls:
    loop = asyncio.get_running_loop()
    match endpoint:
        case TcpEndpoint(host, port):
            return (await loop.create_connection(protocol, host, port))[1]
        case TlsEndpoint(host, port, cert, key, ca):
            tls = client_context(cert, key, ca)
            return (await loop.create_connection(protocol, host, port, ssl=tls))[1]
        case UnixEndpoint(path):
            return (await loop.create_unix_connection(protocol, str(path)))[1]
        case FdEndpoint(number):
            inherited = socket.socket(fileno=number)
            return (await loop.create_connection(protocol, sock=inherited))[1]


class Client:
    """A session with a server; made by :func:`connect`.

    Attributes:
        dialect: What is spoken.
        msize: The longest message.
    """

    def __init__(self, calls: Calls, dialect: Dialect, msize: int) -> None:
        """Use an attached connection."""
        self.dialect = dialect
        self.msize = msize
        self._calls = calls
        self._free: list[Fid] = []
        self._next = _ROOT + 1

    @property
    def outstanding(self) -> int:
        """How many requests the server has not answered."""
        return self._calls.outstanding

    @property
    def fids(self) -> int:
        """How many fids are in use, besides the root's."""
        return self._next - _ROOT - 1 - len(self._free)

    # Whole operations.

    async def read(self, path: Sequence[str]) -> bytes:
        """A file's content up to the first empty read: of a stream, what is there now."""
        async with self.open(path) as file:
            parts = []
            offset = 0
            while data := await file.read(offset):
                parts.append(data)
                offset += len(data)
            return b"".join(parts)

    async def write(self, path: Sequence[str], data: bytes, *, truncate: bool = True) -> None:
        """Write ``data`` at the beginning of an existing file, by default in place of all."""
        mode = OpenMode.WRITE | (OpenMode.TRUNCATE if truncate else OpenMode.READ)
        async with self.open(path, mode) as file:
            await file.write(0, data)

    async def command(self, path: Sequence[str], text: str) -> bytes:
        """Write a command to a command file, and read its result through the same fid."""
        async with self.open(path, OpenMode.READ_WRITE) as file:
            data = text.encode(errors="surrogateescape")
            await file.write(0, data)
            return await file.read(len(data))

    async def create(
        self, path: Sequence[str], data: bytes = b"", *, perm: int = 0o644, target: str = ""
    ) -> None:
        """Make a file, or replace one, with content ``data``.

        Args:
            path: Where; the directory must exist.
            data: The content; of no use for links.
            perm: Bits of :class:`~datakit_core.ninep.messages.Mode`.
            target: The target of a link.
        """
        async with self.creating(path, perm=perm, target=target) as file:
            if data:
                await file.write(0, data)

    @asynccontextmanager
    async def creating(
        self, path: Sequence[str], *, perm: int = 0o644, target: str = ""
    ) -> AsyncIterator[OpenFile]:
        """Make a file, or replace one; it is empty, and open while the block lasts."""
        *parent, name = path
        async with self._walked(parent) as fid:
            mode = OpenMode.READ_WRITE
            await self._calls.call(Tcreate(fid, name, perm, mode, target), Rcreate)
            yield OpenFile(self._calls, fid, self.msize)

    async def mkdir(self, path: Sequence[str]) -> None:
        """Make a directory."""
        *parent, name = path
        async with self._walked(parent) as fid:
            perm = Mode.DIRECTORY | 0o755
            await self._calls.call(Tcreate(fid, name, perm, OpenMode.READ), Rcreate)

    async def list(self, path: Sequence[str]) -> Sequence[WireStat]:
        """A directory's entries in the server's order."""
        data = await self.read(path)
        return list(codec_for(self.dialect).decode_stats(data))

    async def names(self, path: Sequence[str]) -> Sequence[str]:
        """The names in a directory in the server's order."""
        return [entry.name for entry in await self.list(path)]

    async def stat(self, path: Sequence[str]) -> WireStat:
        """A file's attributes."""
        async with self._walked(path) as fid:
            return (await self._calls.call(Tstat(fid), Rstat)).stat

    async def rename(self, path: Sequence[str], name: str) -> None:
        """Give a file another name in the same directory."""
        await self.wstat(path, dataclasses.replace(KEEP, name=name))

    async def truncate(self, path: Sequence[str], length: int) -> None:
        """Cut a file, or extend it with zero bytes."""
        await self.wstat(path, dataclasses.replace(KEEP, length=length))

    async def chmod(self, path: Sequence[str], perm: int, target: str = "") -> None:
        """Make a file executable, normal, or a link."""
        await self.wstat(path, dataclasses.replace(KEEP, mode=perm, extension=target))

    async def wstat(self, path: Sequence[str], stat: WireStat) -> None:
        """Change what :data:`~datakit_core.ninep.messages.KEEP` does not leave alone."""
        async with self._walked(path) as fid:
            await self._calls.call(Twstat(fid, stat), Rwstat)

    async def remove(self, path: Sequence[str]) -> None:
        """Remove a file, or a directory if the server lets it go with its content."""
        fid = await self._walk(path)

        def free(reply: object) -> None:
            self._free.append(fid)  # whatever happened: remove always clunks

        try:
            await self._calls.call(Tremove(fid), Rremove, free)
        except DatakitError:
            free(None)
            raise
        free(None)

    async def lines(self, path: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The lines of a stream, with their newlines, for as long as the caller takes them."""
        async with self.open(path) as file:
            rest = b""
            offset = 0
            while True:
                data = await file.read(offset)  # empty between lines: a flush marker
                offset += len(data)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line + b"\n"

    @asynccontextmanager
    async def open(self, path: Sequence[str], mode: int = OpenMode.READ) -> AsyncIterator[OpenFile]:
        """Open a file; ``mode`` is an :class:`~datakit_core.ninep.messages.OpenMode`."""
        async with self._walked(path) as fid:
            await self._calls.call(Topen(fid, mode), Ropen)
            yield OpenFile(self._calls, fid, self.msize)

    # Fids.

    @asynccontextmanager
    async def _walked(self, path: Sequence[str]) -> AsyncIterator[Fid]:
        """A fid for a path; clunked without waiting for the reply."""
        fid = await self._walk(path)
        try:
            yield fid
        finally:
            self._clunk(fid)

    async def _walk(self, path: Sequence[str]) -> Fid:
        """A new fid for a path; walks of more than 16 names take several steps."""
        fid = self._take_fid()
        first, rest = tuple(path[:NAMES_PER_WALK]), path[NAMES_PER_WALK:]
        try:
            await self._step(Twalk(_ROOT, fid, first), lambda reply: self._drop(fid, reply))
        except DatakitError:
            self._free.append(fid)
            raise
        try:
            for at in range(0, len(rest), NAMES_PER_WALK):
                await self._step(Twalk(fid, fid, tuple(rest[at : at + NAMES_PER_WALK])))
        except BaseException:
            self._clunk(fid)
            raise
        return fid

    async def _step(self, request: Twalk, abandoned: Abandoned | None = None) -> None:
        reply = await self._calls.call(request, Rwalk, abandoned)
        if len(reply.qids) < len(request.names):  # not by our server; then newfid is not bound
            raise NoEntry

    def _take_fid(self) -> Fid:
        if self._free:
            return self._free.pop()
        self._next += 1
        return Fid(self._next - 1)

    def _drop(self, fid: Fid, reply: Record | Exception | None) -> None:
        """The walk that was to bind ``fid`` was cancelled; it may have arrived nevertheless."""
        if isinstance(reply, Rwalk):
            self._clunk(fid)
        else:
            self._free.append(fid)

    def _clunk(self, fid: Fid) -> None:
        """Free a fid when the server has; nobody needs to wait for that."""
        try:
            self._calls.post(Tclunk(fid), lambda reply: self._free.append(fid))
        except Disconnected:
            self._free.append(fid)


class OpenFile:
    """A file that is open at the server; made by :meth:`Client.open`.

    A stream gives each value once. What a cancelled read was sent before the server heard of the
    cancellation is therefore kept for the next read at that offset.
    """

    def __init__(self, calls: Calls, fid: Fid, msize: int) -> None:
        """Use a fid that is open."""
        self._calls = calls
        self._fid = fid
        self._late: dict[int, bytes] = {}
        self._settled = asyncio.Event()  # no cancelled read is under way
        self._settled.set()
        self._most_read = msize - READ_HEADER_SIZE
        self._most_written = msize - _WRITE_HEADER_SIZE

    async def read(self, offset: int, count: int | None = None) -> bytes:
        """Up to ``count`` bytes, by default as many as fit a message; empty at the end."""
        count = self._most_read if count is None else min(count, self._most_read)
        await self._settled.wait()
        if offset in self._late:
            return self._take_late(offset, count)
        settled = asyncio.Event()

        def abandoned(reply: Record | Exception | None) -> None:
            settled.set()
            if isinstance(reply, Rread) and reply.data:
                self._late[offset] = reply.data

        try:
            reply = await self._calls.call(Tread(self._fid, offset, count), Rread, abandoned)
        except asyncio.CancelledError:
            self._settled = settled
            raise
        return reply.data

    async def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``, in several messages if need be."""
        at = 0
        while True:
            part = data[at : at + self._most_written]
            reply = await self._calls.call(Twrite(self._fid, offset + at, part), Rwrite)
            at += reply.count
            if at >= len(data):
                return
            if reply.count == 0:
                raise IoFailed(f"the server took {at} of {len(data)} bytes")

    async def stat(self) -> WireStat:
        """The file's attributes."""
        return (await self._calls.call(Tstat(self._fid), Rstat)).stat

    def _take_late(self, offset: int, count: int) -> bytes:
        data = self._late.pop(offset)
        if len(data) > count:
            self._late[offset + count] = data[count:]
        return data[:count]
