"""Large blobs: read and stored in pieces, by others than the event loop.

pygit2 gives a blob whole, and holds the interpreter's lock while it unpacks it. So a large one is
unpacked by ``git cat-file`` into a spool, from which any part is read as soon as it is there; all
who read one blob at the same time share one spool. A large file that was edited is in a spool
already; a thread hashes and compresses it piece by piece into a loose object, and neither the
lock nor memory is taken for long.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import subprocess
import tempfile
import zlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from datakit_core.errors import DatakitError, IoFailed, NoSpace, StoreError, TooLarge
from datakit_core.store.disk import sync_file_system
from datakit_core.store.git import OPTIONS, environment, reason
from datakit_core.store.loose import loose_name
from datakit_core.store.objects import BlobId, ObjectId
from datakit_core.store.spool import Spool, SpoolSpace

__all__ = ["LARGE_READ", "BlobSpool", "LargeBlobs"]

_log = logging.getLogger(__name__)

LARGE_READ = 700 << 10
"""Bytes of a blob above which it is not read on the event loop: that would take 5 ms and more."""

_MOST = 8 << 30
"""Bytes of a blob that can be read at all."""

_THREADS = 4
_PIECE = 256 << 10
_COPIED = 1 << 20
_LOOK = 0.01
"""Seconds between two looks at a spool that somebody waits for."""

_STREAMED = ("-c", "core.bigFileThreshold=1m")
"""Git holds a blob in memory unless it is larger than this, or packed as a difference."""


class BlobSpool:
    """A blob that is read in pieces; made by :meth:`LargeBlobs.open`.

    Attributes:
        size: Its length in bytes.
        users: Who reads it.
    """

    def __init__(self, owner: LargeBlobs, blob: BlobId, size: int) -> None:
        """Make the spool; :meth:`LargeBlobs.open` has it filled."""
        self.size = size
        self.users = 1
        self._owner, self._blob = owner, blob
        self._spool = owner.space.create()
        self._spool.extend(size)
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[object, tuple[int, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._filled = False
        self._there = 0
        self._error: DatakitError | None = None

    def ready(self, end: int) -> bool:
        """Whether the first ``end`` bytes are there, or will never be."""
        if self._filled or end <= self._there:
            return True
        self._there = self._spool.path.stat().st_size
        return end <= self._there

    def read(self, offset: int, count: int) -> bytes:
        """A part that is :meth:`ready`.

        Raises:
            StoreError: The blob is damaged.
        """
        if self._error is not None and offset + count > self._there:
            raise self._error
        return self._spool.read(offset, count)

    def when_ready(self, end: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once the first ``end`` bytes are there; returns how to give up waiting."""
        key = object()
        self._waiting[key] = end, callback
        self._look_again()

        def forget() -> None:
            self._waiting.pop(key, None)

        return forget

    async def arrival(self, end: int) -> None:
        """Wait until the first ``end`` bytes are there, or it is known that they never will be."""
        arrived = asyncio.Event()
        if not self.ready(end):
            forget = self.when_ready(end, arrived.set)
            try:
                await arrived.wait()
            finally:
                forget()

    def close(self) -> None:
        """One of its users has gone; the last one takes it along."""
        self.users -= 1
        if self.users:
            return
        self._owner.forget(self._blob)
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        if self._process is not None:
            self._process.kill()
        self._spool.close()

    def fill(self, repository: Path) -> None:
        """Unpack the blob; in a thread, which waits for Git."""
        if not self.users:
            return
        with self._spool.path.open("wb") as output, tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                ["git", *OPTIONS, *_STREAMED, f"--git-dir={repository}",
                 "cat-file", "blob", self._blob],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment(),
            )  # fmt: skip
            if not self.users:  # they have gone meanwhile
                self._process.kill()
            code = self._process.wait()
            written = os.fstat(output.fileno()).st_size  # the name may be gone: nobody reads it
            errors.seek(0)
            said = reason(errors.read(10_000))
        if code or written != self.size:
            raise StoreError(f"cannot read blob {self._blob}: {said or code}; run git fsck")

    def filled(self, error: DatakitError | None) -> None:
        """Nothing more will come; on the event loop."""
        if not self.users:
            return
        self._error = error
        self._there = self._spool.path.stat().st_size
        self._filled = True
        self._tell()

    def _look_again(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        self._tell()
        self._look_again()

    def _tell(self) -> None:
        for key, (end, callback) in list(self._waiting.items()):
            if self.ready(end) and self._waiting.pop(key, None) is not None:
                callback()


class LargeBlobs:
    """The large blobs of one store.

    Attributes:
        space: Where their spools are.
    """

    def __init__(self, repository: Path, space: SpoolSpace, *, synced: bool) -> None:
        """Read from and write to ``repository``; ``synced`` if writes survive a power cut."""
        self.space = space
        self._repository, self._synced = repository, synced
        self._open: dict[BlobId, BlobSpool] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="datakit-blobs")

    def open(self, blob: BlobId, size: int) -> BlobSpool:
        """Begin to read ``blob``, of ``size`` bytes, or join those who do; close it afterwards.

        Raises:
            TooLarge: It cannot be read.
            NoSpace: There is no room for it.
        """
        found = self._open.get(blob)
        if found is not None:
            found.users += 1
            return found
        if size > _MOST:
            raise TooLarge
        opened = self._open[blob] = BlobSpool(self, blob, size)
        loop = asyncio.get_running_loop()
        filling = loop.run_in_executor(self._threads, opened.fill, self._repository)
        filling.add_done_callback(lambda done: opened.filled(_failure(done)))
        return opened

    async def read(self, blob: BlobId, size: int) -> bytes:
        """A whole large blob, in memory; for programs that want it so."""
        opened = self.open(blob, size)
        try:
            await opened.arrival(size)
            return await asyncio.to_thread(opened.read, 0, size)
        finally:
            opened.close()

    async def pieces(self, blob: BlobId, size: int, part: range) -> AsyncGenerator[bytes, None]:
        """The bytes of a large blob whose numbers are in ``part``, as they come.

        Raises:
            StoreError: The blob is damaged.
        """
        opened = self.open(blob, size)
        try:
            for start in range(part.start, part.stop, _PIECE):
                end = min(start + _PIECE, part.stop)
                await opened.arrival(end)
                yield opened.read(start, end - start)
                await asyncio.sleep(0)
        finally:
            opened.close()

    async def copy(self, blob: BlobId, size: int) -> Spool:
        """A spool of its own with the content of a blob, to be edited."""
        opened = self.open(blob, size)
        try:
            await opened.arrival(size)
            copy = self.space.create()
            for offset in range(0, size, _COPIED):
                copy.write(offset, opened.read(offset, _COPIED))
                await asyncio.sleep(0)
            return copy
        finally:
            opened.close()

    async def store(self, spools: list[Spool]) -> list[BlobId]:
        """Store the content of ``spools``, which nobody changes meanwhile; their ids, in order."""
        loop = asyncio.get_running_loop()
        stored = [
            await loop.run_in_executor(self._threads, _write_loose, self._repository, spool)
            for spool in spools
        ]
        if stored and self._synced:
            await loop.run_in_executor(self._threads, sync_file_system, self._repository)
        return stored

    def forget(self, blob: BlobId) -> None:
        """Nobody reads ``blob`` any more."""
        self._open.pop(blob, None)

    async def close(self) -> None:
        """End what is under way."""
        for opened in tuple(self._open.values()):
            opened.users = 1
            opened.close()
        await asyncio.to_thread(self._threads.shutdown)
        self.space.clear()


def _failure(done: asyncio.Future[None]) -> DatakitError | None:
    if done.cancelled():
        return IoFailed()
    error = done.exception()
    if error is None or isinstance(error, DatakitError):
        return error
    _log.error("a large blob could not be read", exc_info=error)
    return IoFailed()


def _write_loose(repository: Path, spool: Spool) -> BlobId:
    """Write a spool as a loose object, a piece at a time."""
    objects = repository / "objects"
    header = b"blob %d\0" % spool.length
    try:
        # Git's gc removes what is called so, should we be killed.
        descriptor, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=objects)
        try:
            with os.fdopen(descriptor, "wb") as output, spool.path.open("rb") as content:
                object_id = _deflate(header, spool.length, content.read, output.write)
            Path(temporary).chmod(0o444)
            final = repository / loose_name(object_id)
            final.parent.mkdir(exist_ok=True)
            Path(temporary).replace(final)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise NoSpace from error
    return BlobId(object_id)


def _deflate(
    header: bytes, length: int, read: Callable[[int], bytes], write: Callable[[bytes], object]
) -> ObjectId:
    digest = hashlib.sha1(header, usedforsecurity=False)
    deflate = zlib.compressobj(1)
    write(deflate.compress(header))
    left = length
    while left:
        piece = read(min(_PIECE, left))
        if not piece:  # a hole at the end, which has no bytes in the file
            piece = bytes(min(_PIECE, left))
        left -= len(piece)
        digest.update(piece)
        write(deflate.compress(piece))
    write(deflate.flush())
    return ObjectId(digest.hexdigest())
