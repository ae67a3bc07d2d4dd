"""Long contents as they travel: in pieces, of which one is in memory at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from io import FileIO
from pathlib import Path

from datakit_core.errors import InvalidArgument, IoFailed

__all__ = ["PIECE", "check_range", "even", "pieces_of", "read_descriptor"]

PIECE = 256 << 10
"""Bytes; writing so many to the page cache takes a tenth of a millisecond."""


def check_range(offset: int, length: int | None) -> None:
    """Refuse a range that cannot be.

    Raises:
        InvalidArgument: A number is negative.
    """
    if offset < 0:
        raise InvalidArgument(f"Negative offset {offset}")
    if length is not None and length < 0:
        raise InvalidArgument(f"Negative length {length}")


async def even(pieces: AsyncIterable[bytes], size: int = PIECE) -> AsyncIterator[bytes]:
    """The same bytes in pieces of ``size``, but for the last one; none is empty.

    Many small pieces would each cost a message or a system call, and a large one would block.
    """
    held: list[bytes] = []
    length = 0
    async for piece in pieces:
        view = memoryview(piece)
        while length + len(view) >= size:
            cut = size - length
            yield b"".join([*held, view[:cut]])
            held, length, view = [], 0, view[cut:]
        if view:
            held.append(bytes(view))
            length += len(view)
    if held:
        yield b"".join(held)


async def pieces_of(path: Path, offset: int = 0) -> AsyncGenerator[bytes, None]:
    """The content of a file of this machine from byte ``offset`` on, read in a thread.

    Raises:
        IoFailed: It cannot be read.
    """
    try:
        with await _opened(path) as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, PIECE):
                yield data
                if len(data) < PIECE:
                    return
    except OSError as error:
        raise IoFailed(f"cannot read {path.name}: {error.strerror}") from error


async def _opened(path: Path) -> FileIO:
    """Open a file in a thread; whoever is cancelled meanwhile leaves nothing open."""
    opening = asyncio.get_running_loop().run_in_executor(None, FileIO, path)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: asyncio.Future[FileIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def read_descriptor(descriptor: int) -> AsyncGenerator[bytes]:
    """What comes from an open file, such as standard input, up to its end.

    A pipe or terminal is read when it has something, so that waiting for it can be cancelled: a
    thread that reads could not.

    Raises:
        IoFailed: It cannot be read.
    """
    try:
        while data := await _read_some(descriptor):
            yield data
    except OSError as error:
        raise IoFailed(f"cannot read the input: {error.strerror}") from error


async def _read_some(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a regular file, which always has something (epoll_ctl(2), EPERM)
        return await asyncio.to_thread(os.read, descriptor, PIECE)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, PIECE)
