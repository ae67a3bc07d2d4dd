"""Attacks on framing: sizes, pieces, floods, and clients that never read."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from datakit_core.ninep.messages import (
    OpenMode,
    Rclunk,
    Record,
    Rerror,
    Rread,
    Tattach,
    Tclunk,
    Topen,
    Tread,
    Tversion,
    Twalk,
    Twrite,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid
from tests.support.git import git
from tests.support.peer import ONE, ROOT
from tests.support.raw import Raw, RawError, connect
from tests.support.scenarios import begin, commit_files, put
from tests.support.served import Served
from tests.support.waiting import until
from tests.support.wire import RawClient


def frame(number: int, body: bytes, tag: int = 1) -> bytes:
    return struct.pack("<IBH", 7 + len(body), number, tag) + body


@pytest.mark.parametrize("size", [*range(7), (1 << 17) + 1, 1 << 31, (1 << 32) - 1])
async def test_an_impossible_size_before_the_first_message_ends_it(
    wire: RawClient, size: int
) -> None:
    wire.writer.write(struct.pack("<IBH", size, 100, 0xFFFF))
    assert await wire.at_end()


@pytest.mark.parametrize("size", [*range(7), 8193, (1 << 32) - 1])
async def test_an_impossible_size_in_a_session_ends_it(wire: RawClient, size: int) -> None:
    await wire.attach(msize=8192)
    wire.writer.write(struct.pack("<IBH", size, 110, 1))
    assert await wire.at_end()


async def test_a_session_may_come_byte_by_byte(wire: RawClient) -> None:
    messages: list[tuple[Record, int]] = [
        (Tversion(8192, "9P2000"), NO_TAG),
        (Tattach(ROOT, NO_FID, "me", ""), 0),
        (Twalk(ROOT, ONE, ("branch",)), 1),
        (Tclunk(ONE), 2),
    ]
    for byte in b"".join(wire.encode(message, tag) for message, tag in messages):
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
    assert [(await wire.receive())[0] for _ in messages] == [NO_TAG, 0, 1, 2]


async def test_a_hundred_thousand_messages_in_one_piece_are_answered(wire: RawClient) -> None:
    await wire.attach()
    count = 100_000
    message = wire.encode(Tclunk(Fid(99)), 5)
    wire.writer.write(message * count)
    refused = (await wire.receive())[1]
    assert refused == Rerror("Unknown fid 99")
    for _ in range(count - 1):
        assert await wire.receive() == (5, refused)


@pytest.mark.parametrize("number", [0, 8, 12, 24, 72, 76, 101, 106, 107, 111, 117, 119, 127, 255])
async def test_what_is_no_request_is_refused(wire: RawClient, number: int) -> None:
    await wire.attach()
    wire.writer.write(frame(number, b"\0" * 40))
    assert await wire.receive() == (1, Rerror(f"unknown packet type {number}"))
    wire.send(Tclunk(ROOT), 2)
    assert await wire.receive() == (2, Rclunk())


@pytest.mark.parametrize(
    "broken",
    [
        frame(110, b""),  # no fields
        frame(110, struct.pack("<IIH", 0, 1, 3) + b"\x01\0a"),  # fewer names than announced
        frame(110, struct.pack("<IIH", 0, 1, 0xFFFF)),
        frame(110, struct.pack("<IIHH", 0, 1, 1, 0xFFFF) + b"abc"),  # a name beyond the end
        frame(104, struct.pack("<IIH", 5, 0xFFFFFFFF, 9) + b"short"),
        frame(118, struct.pack("<IQI", 0, 0, 100) + b"fewer"),  # less data than announced
        frame(118, struct.pack("<IQI", 0, 0, 0xFFFFFFFF)),
        frame(116, struct.pack("<IQ", 0, 0)),
        frame(126, struct.pack("<IH", 0, 0xFFFF) + b"\0" * 10),  # a stat beyond the end
        frame(126, struct.pack("<IH", 0, 0)),
        frame(112, b"\0" * 4),
        frame(114, b"\0" * 10 + b"\xff"),
    ],
)
async def test_a_damaged_body_is_refused_and_the_connection_lives(
    wire: RawClient, broken: bytes
) -> None:
    await wire.attach()
    wire.writer.write(broken)
    tag, reply = await wire.receive()
    assert (tag, type(reply)) == (1, Rerror)
    wire.send(Tclunk(ROOT), 2)
    assert await wire.receive() == (2, Rclunk())


async def test_bytes_after_the_last_field_are_ignored(wire: RawClient) -> None:
    await wire.attach()
    wire.writer.write(frame(120, struct.pack("<I", 0) + b"trailing"))
    assert await wire.receive() == (1, Rclunk())


async def test_a_walk_has_at_most_sixteen_names(raw: Raw) -> None:
    with pytest.raises(RawError, match="at most 16"):
        await raw.qids("/".join([".."] * 17))


@pytest.mark.parametrize("name", ["", "..", "\0", "a\0b", "a/b", "x" * 256, "x" * 60_000])
async def test_a_name_that_is_none_creates_nothing(raw: Raw, name: str) -> None:
    place = await begin(raw, "master")
    fid = await raw.walk([*place, "rw"])
    with pytest.raises(RawError):
        await raw.create_in(fid, name)
    assert await raw.list([*place, "rw"]) == []


@pytest.mark.parametrize("size", [0, 1, 8192 - 11, 8192, (1 << 32) - 1])
async def test_a_read_never_gives_more_than_fits(wire: RawClient, raw: Raw, size: int) -> None:
    await commit_files(raw, "master", {"big": bytes(20_000)})
    await wire.attach(msize=8192)
    wire.send(Twalk(ROOT, ONE, ("branch", "master", "ro", "big")), 1)
    wire.send(Topen(ONE, 0), 1)
    wire.send(Tread(ONE, 0, size), 1)
    await wire.receive()
    await wire.receive()
    assert (await wire.receive())[1] == Rread(bytes(min(size, 8192 - 11)))


async def test_who_never_reads_makes_the_server_hold_little(
    wire: RawClient, bystander: Raw, served: Served
) -> None:
    place = await begin(bystander, "master")
    await bystander.create([*place, "rw", "big"])
    await bystander.wstat([*place, "rw", "big"], length=1 << 20)
    await bystander.write([*place, "ctl"], b"commit")
    await wire.attach(msize=1 << 20)
    wire.send(Twalk(ROOT, ONE, ("branch", "master", "ro", "big")), 1)
    wire.send(Topen(ONE, 0), 1)
    await wire.receive()
    await wire.receive()
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
    for tag in range(2_000):
        wire.send(Tread(ONE, 0, 1 << 20), tag)
    greedy = max(served.server._connections, key=lambda each: each._info.number)
    await until(lambda: greedy._client_is_slow)
    for _ in range(20):
        assert await bystander.read("branch/master/head") != b"\n"
        held = greedy._transport.get_write_buffer_size() + sum(map(len, greedy._unsent))
        assert held < 4 << 20  # of the 2 GB that were asked for
    wire.writer.transport.abort()
    await until(lambda: greedy not in served.server._connections)


async def test_a_client_that_closes_its_half_is_let_go(wire: RawClient, served: Served) -> None:
    await wire.attach()
    connections = served.server.connections
    wire.writer.write_eof()
    assert await wire.at_end()
    await until(lambda: served.server.connections == connections - 1)


def reset(client: RawClient) -> None:
    """Close with RST instead of FIN."""
    connection: socket.socket = client.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


@pytest.mark.parametrize("sent", [3, 7, 20])
async def test_a_reset_in_the_middle_of_a_message_leaves_nothing(
    wire: RawClient, served: Served, sent: int
) -> None:
    await wire.attach()
    connections = served.server.connections
    wire.send(Tread(ROOT, 0, 10), 1)
    wire.writer.write(wire.encode(Twrite(ROOT, 0, bytes(100)), 2)[:sent])
    reset(wire)
    await until(lambda: served.server.connections == connections - 1)


async def test_a_reset_during_commits_leaves_each_whole_or_absent(
    served: Served, bystander: Raw
) -> None:
    await bystander.mkdir("branch/master")
    for round_ in range(5):
        async with connect(served.port) as raw:
            place = await begin(raw, "master")
            for name in ("one", "two"):
                await raw.create([*place, "rw", f"{round_}-{name}"], data=b"x")
            fid = await raw.open([*place, "ctl"], OpenMode.WRITE)
            raw.start(Twrite(fid, 0, b"commit"))
            await asyncio.sleep(0)
            raw._writer.transport.abort()
    await until(lambda: served.server.connections == 1)
    place = await begin(bystander, "master")
    await put(bystander, place, "end", b"")
    await bystander.write([*place, "ctl"], b"commit")
    names = [name for name in await bystander.list("branch/master/ro") if name != "end"]
    rounds = {name.partition("-")[0] for name in names}
    assert sorted(names) == sorted(f"{one}-{name}" for one in rounds for name in ("one", "two"))
    git(served.store.path, "fsck", "--full", "--strict")
