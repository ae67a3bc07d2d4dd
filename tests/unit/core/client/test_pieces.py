"""Contents in pieces: of even size, from files, and from pipes that may have nothing yet."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_core.client.pieces import PIECE, even, pieces_of, read_descriptor
from datakit_core.errors import IoFailed

pytestmark = pytest.mark.usefixtures("nonblocking")


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_pieces_are_made_even(pieces: list[bytes], size: int) -> None:
    async def given_ones() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def made() -> list[bytes]:
        return [piece async for piece in even(given_ones(), size)]

    content = b"".join(pieces)
    expected = [content[start : start + size] for start in range(0, len(content), size)]
    assert asyncio.run(made()) == expected


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5])
async def test_a_file_is_read_in_pieces_from_any_offset(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    for offset in (0, 1, size):
        pieces = [piece async for piece in pieces_of(path, offset)]
        assert b"".join(pieces) == content[offset:]
        assert all(0 < len(piece) <= PIECE for piece in pieces)


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(IoFailed, match="cannot read none: No such file"):
        await anext(pieces_of(tmp_path / "none"))


async def test_a_pipe_is_read_as_it_is_filled_up_to_its_end() -> None:
    reader, writer = os.pipe()
    try:
        pieces = read_descriptor(reader)
        os.write(writer, b"one")
        assert await anext(pieces) == b"one"
        async with asyncio.TaskGroup() as group:
            second = group.create_task(anext(pieces, b"end"))
            await asyncio.sleep(0)
            assert not second.done()
            os.write(writer, b"two")
        assert second.result() == b"two"
        os.close(writer)
        assert [piece async for piece in pieces] == []
    finally:
        os.close(reader)


async def test_waiting_for_a_pipe_can_be_cancelled() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(read_descriptor(reader))
        os.write(writer, b"there")
        assert await anext(read_descriptor(reader)) == b"there"
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_file_is_an_input_as_well(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert [piece async for piece in read_descriptor(descriptor)] == [b"content"]
    finally:
        os.close(descriptor)


async def test_a_file_that_opens_after_its_reader_was_cancelled_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)  # whose opening waits for the other side
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_first(path))
        await asyncio.sleep(0)
        reading.cancel()
    writer = await asyncio.to_thread(os.open, path, os.O_WRONLY)
    poll = select.poll()
    poll.register(writer, 0)
    assert (await asyncio.to_thread(poll.poll))[0][1] & select.POLLERR
    os.close(writer)


async def _first(path: Path) -> bytes:
    return await anext(pieces_of(path))
