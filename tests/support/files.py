"""Working on nodes as a connection does, without sockets: walk, read, write, list."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeAlias, TypeVar

from datakit_core.vfs import Answer, Deferred, Directory, File, Handle, Kind, Node, Stat

__all__ = ["Files", "Path", "value_of"]

T = TypeVar("T")

Path: TypeAlias = str | Sequence[str]
"""Names separated by ``/``, or a sequence of names that may hold one."""


async def value_of(answer: Answer[T]) -> T:
    """Wait for an answer, whatever its form."""
    if isinstance(answer, Deferred):
        arrived = asyncio.Event()
        answer.on_done(lambda _: arrived.set())
        await arrived.wait()
        return answer.result()
    if isinstance(answer, Coroutine):
        return await answer
    return answer


class Files:
    """A tree of nodes, used by path."""

    def __init__(self, root: Directory) -> None:
        """Start every walk at ``root``."""
        self.root = root

    async def node(self, path: Path = "") -> Node:
        """Walk to ``path``."""
        node: Node = self.root
        for name in _names(path):
            assert isinstance(node, Directory), f"{name} is below a file"
            node = await value_of(node.lookup(name))
        return node

    async def directory(self, path: Path = "") -> Directory:
        """Walk to a directory."""
        node = await self.node(path)
        assert isinstance(node, Directory)
        return node

    async def open(self, path: Path) -> Handle:
        """Walk to a file and open it."""
        node = await self.node(path)
        assert isinstance(node, File)
        return await value_of(node.open())

    async def read(self, path: Path) -> bytes:
        """A file's whole content; for a stream its next line."""
        handle = await self.open(path)
        data = await value_of(handle.read(0, 1 << 20))
        handle.close()
        return data

    async def write(self, path: Path, data: bytes) -> None:
        """Truncate a file and write it, as a shell does; make it if it is absent."""
        names = _names(path)
        parent = await self.directory(names[:-1])
        if names[-1] not in await self.list(names[:-1]):
            await value_of(parent.create(names[-1], Kind.FILE))
        node = await self.node(path)
        await value_of(node.truncate(0))
        assert isinstance(node, File)
        handle = await value_of(node.open())
        assert await value_of(handle.write(0, data)) == len(data)
        handle.close()

    async def command(self, path: Path, command: str) -> bytes:
        """Write a command and read its result, on one handle."""
        handle = await self.open(path)
        taken = await value_of(handle.write(0, command.encode()))
        data = await value_of(handle.read(taken, 1 << 20))
        handle.close()
        return data

    async def make(self, path: Path, kind: Kind = Kind.DIRECTORY, target: str = "") -> Node:
        """Create the last name of ``path`` in the directory before it."""
        names = _names(path)
        return await value_of((await self.directory(names[:-1])).create(names[-1], kind, target))

    async def stats(self, path: Path = "") -> Sequence[Stat]:
        """A directory's listing."""
        stats: Sequence[Stat] = await value_of((await self.directory(path)).list())
        return list(stats)

    async def list(self, path: Path = "") -> list[str]:
        """The names in a directory, in the order in which they are listed."""
        return [stat.name for stat in await self.stats(path)]

    async def stat(self, path: Path = "") -> Stat:
        """Describe what is at ``path``."""
        return await value_of((await self.node(path)).stat())

    async def remove(self, path: Path) -> None:
        """Remove what is at ``path``."""
        await value_of((await self.node(path)).remove())


def _names(path: Path) -> Sequence[str]:
    if not isinstance(path, str):
        return path
    return path.split("/") if path else ()
