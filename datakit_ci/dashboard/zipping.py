"""A tree as a zip file, made while it is sent: one piece of one file is in memory at a time.

The same tree always makes the same bytes. Modes and links are kept, as Info-ZIP writes them: the
upper half of the external attributes has the Unix mode (APPNOTE.TXT 4.4.15). Names are made such
that no program can be led out of the directory into which it unpacks.
"""

from __future__ import annotations

import asyncio
import io
import re
import stat
import zipfile
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from datakit_ci.archive import Objects
from datakit_ci.dashboard.source import finish
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId

__all__ = ["MOST", "Member", "TooMany", "plan", "safe_name", "zip_pieces"]

MOST = 50_000
"""Files of one zip file; its table of contents is kept until the end."""

_LARGE = 64 << 10
"""Bytes from which on compression is left to a thread."""

_LEVEL = 6
_THEN = (1980, 1, 1, 0, 0, 0)
"""The time of every member: trees have none, and this is the earliest that the format has."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')
_MODES = {
    FileMode.NORMAL: stat.S_IFREG | 0o644,
    FileMode.EXECUTABLE: stat.S_IFREG | 0o755,
    FileMode.LINK: stat.S_IFLNK | 0o777,
    FileMode.DIRECTORY: stat.S_IFDIR | 0o755,
    FileMode.SUBMODULE: stat.S_IFDIR | 0o755,
}


class TooMany(Exception):
    """A tree has more files than fit."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a zip: its safe path, and what it is."""

    path: str
    entry: Entry


def safe_name(name: str) -> str:
    r"""A name that means one file, on any system: ``\``, ``:`` and the like become ``_``.

    Bytes that are not UTF-8 become ``_`` as well.
    """
    found = _UNSAFE.sub("_", name)
    return "_" * len(found) if found in (".", "..") else found or "_"


async def plan(objects: Objects, tree: TreeId, name: str) -> Sequence[Member]:
    """What a zip of ``tree`` has, below a directory ``name``.

    Raises:
        TooMany: There is more than :data:`MOST`.
    """
    members: list[Member] = []
    left = [(safe_name(name), tree)]
    while left:
        above, tree = left.pop()
        entries = await objects.tree(tree)
        if len(members) + len(entries) > MOST:
            raise TooMany
        for path, entry in _named(entries.items()):
            members.append(Member(f"{above}/{path}", entry))
            if entry.is_directory:
                left.append((f"{above}/{path}", TreeId(entry.id)))
        await asyncio.sleep(0)
    return sorted(members, key=lambda member: member.path)


def _named(entries: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, Entry]]:
    """Entries of one directory under safe names, each another one.

    Where a link could be taken for another name (file systems may ignore case, or how letters are
    composed), the link gets a number: so nothing is ever written through it.
    """
    ordered = sorted(entries, key=lambda pair: (pair[1].mode is FileMode.LINK, pair[0]))
    used, alike = set[str](), set[str]()
    for name, entry in ordered:
        path = base = safe_name(name)
        number = 1
        while path in used or (entry.mode is FileMode.LINK and _folded(path) in alike):
            number += 1
            path = f"{base}~{number}"
        used.add(path)
        alike.add(_folded(path))
        yield path, entry


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold().rstrip(". ")


async def zip_pieces(objects: Objects, members: Sequence[Member]) -> AsyncGenerator[bytes, None]:
    """The bytes of a zip file with these members.

    Raises:
        UnknownObject: One of them is not in the database any more; what came before is no zip.
    """
    sink = _Sink()
    archive = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
    for member in members:
        info = _info(member)
        if info.is_dir():
            archive.writestr(info, b"")
            continue
        pieces = objects.stream_blob(BlobId(member.entry.id))
        try:
            with archive.open(info, "w", force_zip64=True) as file:
                async for piece in pieces:
                    if len(piece) > _LARGE:
                        await asyncio.to_thread(file.write, piece)
                    else:
                        file.write(piece)
                    if len(sink) > _LARGE:
                        yield sink.take()
        finally:
            await finish(pieces)
        await asyncio.sleep(0)
    archive.close()
    yield sink.take()


def _info(member: Member) -> zipfile.ZipInfo:
    is_directory = not member.entry.mode.is_file and member.entry.mode is not FileMode.LINK
    info = zipfile.ZipInfo(f"{member.path}/" if is_directory else member.path, _THEN)
    info.create_system = 3  # Unix: then the mode counts
    info.external_attr = _MODES[member.entry.mode] << 16 | (0x10 if is_directory else 0)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


class _Sink(io.RawIOBase):
    """What a zip is written to; it cannot be sought in, so sizes come after contents."""

    def __init__(self) -> None:
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._held += view
        return view.nbytes

    def take(self) -> bytes:
        """What was written since the last time."""
        held = bytes(self._held)
        self._held.clear()
        return held
