"""What many conformance tests do: make branches, commit files, follow streams."""

from __future__ import annotations

import asyncio
import itertools
from typing import TypeAlias

from datakit_core.ninep.messages import Record, Rread, Tread
from datakit_core.ninep.wire import Fid, Tag
from tests.support.raw import Path, Raw

__all__ = ["Contents", "Stream", "begin", "commit", "commit_files", "head_of", "put"]

Contents: TypeAlias = dict[str, bytes | None]
"""Path to content; none removes what is there."""

_names = itertools.count()


async def begin(raw: Raw, branch: str) -> list[str]:
    """Make the branch if need be, and a transaction on it; the transaction's path."""
    await raw.mkdir(["branch", branch])
    place = ["branch", branch, "transactions", f"t{next(_names)}"]
    await raw.mkdir(place)
    return place


async def put(raw: Raw, place: list[str], path: str, content: bytes) -> None:
    """Write a file in a transaction's tree, with the directories above it."""
    *above, _ = names = path.split("/")
    for depth in range(len(above)):
        if above[depth] not in await raw.list([*place, "rw", *above[:depth]]):
            await raw.mkdir([*place, "rw", *above[: depth + 1]])
    await raw.create([*place, "rw", *names], data=content)


async def commit(raw: Raw, place: list[str], message: str = "a commit") -> None:
    """Commit a transaction as the original's clients do."""
    await raw.write([*place, "msg"], message.encode())
    await raw.write([*place, "ctl"], b"commit\n")


async def commit_files(raw: Raw, branch: str, contents: Contents) -> str:
    """Commit some changes to a branch; its head afterwards."""
    place = await begin(raw, branch)
    for path, content in contents.items():
        if content is None:
            await raw.remove([*place, "rw", *path.split("/")])
        else:
            await put(raw, place, path, content)
    await commit(raw, place)
    return await head_of(raw, branch)


async def head_of(raw: Raw, branch: str) -> str:
    """A branch's head, or nothing."""
    return (await raw.read(["branch", branch, "head"])).decode().removesuffix("\n")


class Stream:
    """A stream that is read as clients do: data, an empty read, data."""

    def __init__(self, raw: Raw, fid: Fid) -> None:
        """Read the open ``fid``."""
        self._raw, self.fid = raw, fid
        self.offset = 0

    @classmethod
    async def open(cls, raw: Raw, path: Path) -> Stream:
        """Open the stream at ``path``."""
        return cls(raw, await raw.open(path))

    async def line(self) -> str:
        """The next line, without its newline; waits for it."""
        data = await self._raw.read_at(self.fid, self.offset)
        self.offset += len(data)
        assert await self._raw.read_at(self.fid, self.offset) == b"", "the flush marker"
        assert data.endswith(b"\n")
        return data.decode().removesuffix("\n")

    def block(self) -> tuple[Tag, asyncio.Future[Record]]:
        """Begin a read that has to wait."""
        return self._raw.start(Tread(self.fid, self.offset, 512))

    async def woken(self, waiting: asyncio.Future[Record]) -> str:
        """The line that a blocked read got."""
        reply = await waiting
        assert isinstance(reply, Rread)
        self.offset += len(reply.data)
        assert await self._raw.read_at(self.fid, self.offset) == b"", "the flush marker"
        return reply.data.decode().removesuffix("\n")
