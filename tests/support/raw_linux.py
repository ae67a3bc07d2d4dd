"""The raw client in 9P2000.L."""

from __future__ import annotations

import stat as unix
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from struct import Struct

import pytest

from datakit_core.ninep.linux_messages import (
    OpenFlag,
    Rgetattr,
    Rlcreate,
    Rlopen,
    Rmkdir,
    Rreaddir,
    Rreadlink,
    Rrename,
    Rsetattr,
    Rsymlink,
    Tgetattr,
    Tlcreate,
    Tlopen,
    Tmkdir,
    Treaddir,
    Treadlink,
    Trename,
    Tsetattr,
    Tsymlink,
)
from datakit_core.ninep.messages import KEEP, Mode, OpenMode, WireStat
from datakit_core.ninep.wire import Fid
from tests.support.raw_client import Path, Raw, RawError, names_in

__all__ = ["RawLinux"]

_ENTRY = Struct("<BIQQBH")
_KINDS = {unix.S_IFDIR: Mode.DIRECTORY, unix.S_IFLNK: Mode.LINK, unix.S_IFREG: Mode(0)}
_BITS = {"mode": 0x1, "length": 0x8, "uid": 0x2, "gid": 0x4, "atime": 0x10, "mtime": 0x20}
"""Which fields of Tsetattr count."""


class RawLinux(Raw):
    """The same with the requests of 9P2000.L; what it tells of files is put in the same terms."""

    @contextmanager
    def refused(self, text: str, number: int) -> Iterator[None]:
        """What is asked in the block is answered with this number: there are no texts."""
        with pytest.raises(RawError) as caught:
            yield
        assert caught.value.errno == number, f"not as {text!r}"

    async def open_fid(self, fid: Fid, mode: int = OpenMode.READ) -> None:
        """Open what a fid stands for."""
        flags = mode & 3 | (OpenFlag.TRUNCATE if mode & OpenMode.TRUNCATE else 0)
        await self.call(Tlopen(fid, flags), Rlopen)

    async def create(
        self, path: Path, perm: int = 0o644, data: bytes = b"", extension: str = ""
    ) -> None:
        """Make a file or a link."""
        *above, name = names_in(path)
        fid = await self.walk(above)
        if perm & Mode.LINK:
            await self.call(Tsymlink(fid, name, extension, 0), Rsymlink)
        else:
            await self.create_in(fid, name, perm)
        if data:
            assert await self.write_at(fid, 0, data) == len(data)
        await self.clunk(fid)

    async def create_in(self, directory: Fid, name: str, perm: int = 0o644) -> None:
        """Make a file; the fid then stands for the file."""
        flags = OpenFlag.READ_WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE
        await self.call(Tlcreate(directory, name, flags, perm, 0), Rlcreate)

    async def mkdir(self, path: Path) -> None:
        """Make a directory."""
        *above, name = names_in(path)
        fid = await self.walk(above)
        await self.call(Tmkdir(fid, name, 0o755, 0), Rmkdir)
        await self.clunk(fid)

    async def stat(self, path: Path) -> WireStat:
        """Describe a file."""
        *_, name = ["/", *names_in(path)]
        return replace(await super().stat(path), name=name)

    async def stat_of(self, fid: Fid) -> WireStat:
        """Describe what a fid stands for, but for its name."""
        attributes = await self.call(Tgetattr(fid, 0x7FF), Rgetattr)
        target = ""
        if unix.S_ISLNK(attributes.mode):
            target = (await self.call(Treadlink(fid), Rreadlink)).target
        return replace(
            KEEP,
            qid=attributes.qid,
            mode=_KINDS[unix.S_IFMT(attributes.mode)] | attributes.mode & 0o777,
            length=attributes.size,
            extension=target,
        )

    async def wstat(self, path: Path, **changes: int | str) -> None:
        """Change attributes."""
        match changes:
            case {"name": str(name), **rest} if not rest:
                fid, parent = await self.walk(path), await self.walk(names_in(path)[:-1])
                await self.rename(fid, parent, name)
                await self.clunk(fid)
            case _:
                await super().wstat(path, **changes)

    async def change(self, fid: Fid, **changes: int | str) -> None:
        """Change attributes of what a fid stands for."""
        assert changes.keys() <= _BITS.keys(), f"9P2000.L cannot change {changes}"
        valid = sum(_BITS[name] for name in changes)
        size, mode = int(changes.get("length", 0)), int(changes.get("mode", 0))
        if mode & Mode.DIRECTORY:
            mode = unix.S_IFDIR | mode & 0o777
        await self.call(Tsetattr(fid, valid, mode=mode, size=size), Rsetattr)

    async def rename(self, fid: Fid, directory: Fid, name: str) -> None:
        """Give what a fid stands for another name in its directory, for which there is a fid."""
        await self.call(Trename(fid, directory, name), Rrename)

    async def stats(self, path: Path = "") -> list[WireStat]:
        """A directory's content, of which the entries tell no more than names."""
        return [
            await self.stat([*names_in(path), name.replace("%2F", "/").replace("%25", "%")])
            for name in await self.entries(path)
        ]

    async def entries(self, path: Path = "", count: int = 8192) -> list[str]:
        """The names as they are sent, read ``count`` bytes at a time."""
        fid, names, cookie = await self.open(path), [], 0
        while data := (await self.call(Treaddir(fid, cookie, count), Rreaddir)).data:
            at = 0
            while at < len(data):
                *_, cookie, _, length = _ENTRY.unpack_from(data, at)
                at += _ENTRY.size + length
                names.append(data[at - length : at].decode())
        await self.clunk(fid)
        return names
