"""A 9P client made of nothing but the codec: it sends what it is told and hides nothing.

Conformance is judged through it, since our own client might make up for what the server does
wrong. Requests are awaited one at a time unless :meth:`Raw.start` is used.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias, TypeVar

import pytest

from datakit_core.errors import from_wire
from datakit_core.ninep.codec import Codec, codec_for, tag_of
from datakit_core.ninep.dialect import UNIX, Dialect
from datakit_core.ninep.linux_messages import Rlerror
from datakit_core.ninep.messages import (
    KEEP,
    Mode,
    OpenMode,
    Rattach,
    Rcreate,
    Record,
    Rerror,
    Rflush,
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
    Tflush,
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
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Qid, Tag

__all__ = ["Path", "Raw", "RawError", "names_in"]

R = TypeVar("R", bound=Record)

Path: TypeAlias = str | Sequence[str]
"""Names separated by ``/``, or a sequence of names that may hold one."""

ROOT = Fid(0)


class RawError(Exception):
    """An error reply."""

    def __init__(self, text: str, errno: int) -> None:
        """What the server said."""
        self.text, self.errno = text, errno
        super().__init__(text)


class Raw:
    """One connection with one session, attached as fid 0."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dialect: Dialect
    ) -> None:
        """Speak ``dialect`` over a connection."""
        self._reader, self._writer = reader, writer
        self._codec: Codec = codec_for(dialect)
        self._dialect = dialect
        self._tags = itertools.count(1)
        self._fids = itertools.count(1)
        self._replies: dict[Tag, asyncio.Future[Record]] = {}
        self.unexpected: list[Tag] = []

    async def begin(self, aname: str = "", msize: int = 65536) -> Rversion:
        """Agree on the version and attach."""
        agreed = await self.agree(msize)
        await self.call(Tattach(ROOT, Fid(NO_FID), "anyone", aname), Rattach)
        return agreed

    async def agree(self, msize: int = 65536) -> Rversion:
        """Agree on the version, and no more."""
        version = Tversion(msize, self._dialect.version)
        return await self.call(version, Rversion, Tag(NO_TAG))

    async def receive(self) -> None:
        """Hand replies to whoever waits for them, until the connection ends."""
        try:
            while True:
                head = await self._reader.readexactly(4)
                rest = await self._reader.readexactly(int.from_bytes(head, "little") - 4)
                tag, reply = self._codec.decode(head + rest)
                waiter = self._replies.pop(tag, None)
                if waiter is None:
                    self.unexpected.append(tag)
                elif not waiter.done():
                    waiter.set_result(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            for waiter in self._replies.values():
                waiter.cancel()

    def start(self, request: Record, tag: Tag | None = None) -> tuple[Tag, asyncio.Future[Record]]:
        """Send a request; its tag, and where its reply will be."""
        tag = Tag(next(self._tags) % 60000) if tag is None else tag
        waiter: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._replies[tag] = waiter
        self._writer.write(self._codec.encode(tag, request))
        return tag, waiter

    async def call(self, request: Record, expected: type[R], tag: Tag | None = None) -> R:
        """Send a request and wait for its reply; raises :class:`RawError`."""
        _, waiter = self.start(request, tag)
        reply = await waiter
        if isinstance(reply, Rerror):
            raise RawError(reply.ename, reply.errno)
        if isinstance(reply, Rlerror):
            raise RawError(_usual_text(reply.errno), reply.errno)
        assert isinstance(reply, expected), f"{request} was answered with {reply}"
        return reply

    async def exchange(self, frame: bytes) -> Record:
        """Send a frame as it is, with a tag that is free; its reply must not be an error."""
        tag = tag_of(frame)
        waiter: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._replies[tag] = waiter
        self._writer.write(frame)
        reply = await waiter
        assert not isinstance(reply, Rerror), reply
        return reply

    @contextmanager
    def refused(self, text: str, number: int) -> Iterator[None]:
        """What is asked in the block is answered with this error, so far as it is told."""
        with pytest.raises(RawError) as caught:
            yield
        assert caught.value.text == text
        assert caught.value.errno == (number if self._dialect is UNIX else 0)

    async def flush(self, tag: Tag) -> None:
        """Give a request up, and wait for the server to agree."""
        await self.call(Tflush(tag), Rflush)

    async def walk(self, path: Path = "") -> Fid:
        """A new fid for ``path``."""
        fid, names = Fid(next(self._fids)), names_in(path)
        start = ROOT
        for part in [names[at : at + 16] for at in range(0, len(names), 16)] or [()]:
            await self.call(Twalk(start, fid, tuple(part)), Rwalk)
            start = fid
        return fid

    async def qids(self, path: Path) -> tuple[Qid, ...]:
        """What a walk along ``path`` returns."""
        return (
            await self.call(Twalk(ROOT, Fid(next(self._fids)), tuple(names_in(path))), Rwalk)
        ).qids

    async def open(self, path: Path, mode: int = OpenMode.READ) -> Fid:
        """A new fid for ``path``, open."""
        fid = await self.walk(path)
        await self.open_fid(fid, mode)
        return fid

    async def open_fid(self, fid: Fid, mode: int = OpenMode.READ) -> None:
        """Open what a fid stands for."""
        await self.call(Topen(fid, mode), Ropen)

    async def clunk(self, fid: Fid) -> None:
        """Forget a fid."""
        await self.call(Tclunk(fid), Record)

    async def read_at(self, fid: Fid, offset: int, count: int = 8192) -> bytes:
        """One Tread."""
        return (await self.call(Tread(fid, offset, count), Rread)).data

    async def write_at(self, fid: Fid, offset: int, data: bytes) -> int:
        """One Twrite."""
        return (await self.call(Twrite(fid, offset, data), Rwrite)).count

    async def read(self, path: Path, count: int = 8192) -> bytes:
        """A file's content, up to the first empty read."""
        fid = await self.open(path)
        content = b""
        while data := await self.read_at(fid, len(content), count):
            content += data
        await self.clunk(fid)
        return content

    async def write(self, path: Path, data: bytes) -> None:
        """Truncate a file that exists, by Twstat, and write it."""
        await self.wstat(path, length=0)
        fid = await self.open(path, OpenMode.WRITE)
        assert await self.write_at(fid, 0, data) == len(data)
        await self.clunk(fid)

    async def create(
        self, path: Path, perm: int = 0o644, data: bytes = b"", extension: str = ""
    ) -> None:
        """Make a file with Tcreate and write ``data`` through the same fid."""
        *above, name = names_in(path)
        fid = await self.walk(above)
        await self.call(Tcreate(fid, name, perm, OpenMode.READ_WRITE, extension), Rcreate)
        if data:
            assert await self.write_at(fid, 0, data) == len(data)
        await self.clunk(fid)

    async def clone(self, fid: Fid, newfid: Fid) -> None:
        """A second fid for the same file."""
        await self.call(Twalk(fid, newfid, ()), Rwalk)

    async def step(self, fid: Fid, name: str) -> Fid:
        """A new fid, one step from another."""
        found = Fid(next(self._fids))
        await self.call(Twalk(fid, found, (name,)), Rwalk)
        return found

    async def create_in(self, directory: Fid, name: str, perm: int = 0o644) -> None:
        """Make a file; the fid then stands for the file."""
        await self.call(Tcreate(directory, name, perm, OpenMode.READ_WRITE), Rcreate)

    async def mkdir(self, path: Path) -> None:
        """Make a directory."""
        *above, name = names_in(path)
        fid = await self.walk(above)
        await self.call(Tcreate(fid, name, Mode.DIRECTORY | 0o755, OpenMode.READ), Rcreate)
        await self.clunk(fid)

    async def remove(self, path: Path) -> None:
        """Remove a file or directory."""
        await self.call(Tremove(await self.walk(path)), Rremove)

    async def remove_fid(self, fid: Fid) -> None:
        """Remove what a fid stands for; the fid goes in any case."""
        await self.call(Tremove(fid), Rremove)

    async def stat(self, path: Path) -> WireStat:
        """Describe a file."""
        fid = await self.walk(path)
        stat = await self.stat_of(fid)
        await self.clunk(fid)
        return stat

    async def stat_of(self, fid: Fid) -> WireStat:
        """Describe what a fid stands for."""
        return (await self.call(Tstat(fid), Rstat)).stat

    async def wstat(self, path: Path, **changes: int | str) -> None:
        """Change attributes."""
        fid = await self.walk(path)
        await self.change(fid, **changes)
        await self.clunk(fid)

    async def change(self, fid: Fid, **changes: int | str) -> None:
        """Change attributes of what a fid stands for."""
        await self.call(Twstat(fid, replace(KEEP, **changes)), Rwstat)  # type: ignore[arg-type]

    async def rename(self, fid: Fid, directory: Fid, name: str) -> None:
        """Give what a fid stands for another name in its directory, for which there is a fid."""
        await self.change(fid, name=name)

    async def stats(self, path: Path = "") -> list[WireStat]:
        """A directory's content."""
        return list(self._codec.decode_stats(await self.read(path)))

    async def list(self, path: Path = "") -> list[str]:
        """The names in a directory."""
        return [stat.name for stat in await self.stats(path)]

    async def command(self, path: Path, command: str) -> bytes:
        """Open a command file for reading and writing, write, and read the result."""
        fid = await self.open(path, OpenMode.READ_WRITE)
        taken = await self.write_at(fid, 0, command.encode())
        result = await self.read_at(fid, taken)
        await self.clunk(fid)
        return result


def _usual_text(errno: int) -> str:
    """What the other dialects mostly say for a number; 9P2000.L sends no text."""
    return getattr(type(from_wire("", errno)), "text", "")


def names_in(path: Path) -> Sequence[str]:
    """The names of a path."""
    if not isinstance(path, str):
        return path
    return path.split("/") if path else ()
