"""The server against clients that are wrong, slow, greedy or gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from datakit_core.ninep import (
    Client,
    ConnectionInfo,
    ConnectionLimits,
    Limits,
    Server,
    connect,
    serve,
)
from datakit_core.ninep.messages import (
    Rclunk,
    Rerror,
    Rflush,
    Ropen,
    Rread,
    Rversion,
    Rwalk,
    Tattach,
    Tclunk,
    Tflush,
    Topen,
    Tread,
    Tversion,
    Twalk,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Tag
from datakit_core.vfs import (
    Answer,
    Directory,
    File,
    Handle,
    Kind,
    Live,
    Named,
    Stat,
    StaticDirectory,
    StreamFile,
    TextFile,
)
from tests.support.peer import ONE, ROOT
from tests.support.tree import TreeDirectory
from tests.support.waiting import until
from tests.support.wire import RawClient

pytestmark = pytest.mark.usefixtures("nonblocking")


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[RawClient]:
    client = await RawClient.connect(server.endpoints[0])
    yield client
    await client.close()


class TestFraming:
    async def test_many_messages_in_one_piece_are_all_answered(self, raw: RawClient) -> None:
        await raw.attach()
        count = 20_000
        raw.writer.write(b"".join(raw.encode(Tflush(Tag(0)), tag) for tag in range(count)))
        tags = [(await raw.receive())[0] for _ in range(count)]
        assert tags == list(range(count))

    async def test_a_message_may_come_byte_by_byte(self, raw: RawClient) -> None:
        await raw.attach()
        for byte in raw.encode(Twalk(ROOT, ONE, ("f",)), 1):
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()
        assert isinstance((await raw.receive())[1], Rwalk)

    @pytest.mark.parametrize("size", [0, 4, 6, 8193, 0xFFFFFFFF])
    async def test_an_impossible_size_ends_the_connection_and_only_this(
        self, raw: RawClient, client: Client, size: int
    ) -> None:
        await raw.attach(msize=8192)
        raw.send(Twalk(ROOT, ONE, ("f",)), 1)
        raw.writer.write(size.to_bytes(4, "little") + b"\x6e\0\0")
        assert isinstance((await raw.receive())[1], Rwalk)  # what came before is answered
        assert await raw.at_end()
        assert await client.read(["f"]) == b"hello"

    async def test_a_first_message_other_than_version_is_told_so_and_ends_it(
        self, raw: RawClient
    ) -> None:
        raw.send(Tattach(ROOT, NO_FID, "", ""), 7)
        assert await raw.receive() == (7, Rerror("Expected Version message"))
        assert await raw.at_end()

    async def test_an_unknown_type_is_told_and_does_no_harm(self, raw: RawClient) -> None:
        await raw.attach()
        raw.writer.write(b"\x07\0\0\0\xfe\x01\0")
        assert await raw.receive() == (1, Rerror("unknown packet type 254"))
        raw.send(Twalk(ROOT, ONE, ("f",)), 1)
        assert isinstance((await raw.receive())[1], Rwalk)


class TestSlowClients:
    async def test_that_never_attach_are_dropped(self, tmp_path: Path) -> None:
        limits = ConnectionLimits(handshake=0.02)
        async with serve(
            lambda _: TreeDirectory(), f"unix://{tmp_path}/s", limits=limits
        ) as server:
            silent = await RawClient.connect(server.endpoints[0])
            silent.writer.write(b"\x13\0\0\0")
            attached = await (await RawClient.connect(server.endpoints[0])).attach()
            assert await silent.at_end()
            attached.send(Tclunk(ROOT), 1)
            assert await attached.receive() == (1, Rclunk())
            await silent.close()
            await attached.close()

    async def test_that_do_not_take_replies_are_not_read_any_more(self, tmp_path: Path) -> None:
        reads = 0
        block = bytes(1 << 16)

        class Big(Named, File, Handle):
            def open(self) -> Answer[Handle]:
                return self

            def read(self, offset: int, count: int) -> Answer[bytes]:
                nonlocal reads
                reads += 1
                return block[:count]

        tree = StaticDirectory("/", [Big("big"), TextFile("f", b"hello")])
        async with serve(lambda _: tree, f"unix://{tmp_path}/s") as server:
            greedy = await (await RawClient.connect(server.endpoints[0])).attach(msize=1 << 17)
            greedy.send(Twalk(ROOT, ONE, ("big",)), 0)
            greedy.send(Topen(ONE, 0), 0)
            await greedy.receive()
            await greedy.receive()
            count = 5000
            for tag in range(count):
                greedy.send(Tread(ONE, 0, 1 << 16), tag)
            async with connect(server.endpoints[0]) as other:
                for _ in range(50):  # the others are served meanwhile
                    assert await other.read(["f"]) == b"hello"
            assert 0 < reads < 100
            for tag in range(count):
                assert await greedy.receive() == (tag, Rread(block))
            assert reads == count
            await greedy.close()

    async def test_that_are_gone_leave_nothing(self, tmp_path: Path) -> None:
        live = Live()
        tree = StaticDirectory("/", [StreamFile("live", live.open)])
        async with serve(lambda _: tree, f"unix://{tmp_path}/s") as server:
            for _ in range(3):
                raw = await (await RawClient.connect(server.endpoints[0])).attach()
                raw.send(Twalk(ROOT, ONE, ("live",)), 0)
                raw.send(Topen(ONE, 0), 1)
                for tag in range(2, 500):
                    raw.send(Tread(ONE, 0, 100), tag)
                raw.writer.write(b"\x17\0\0\0\x74")  # a part of a message
                await until(lambda: live.readers == 1)
                raw.writer.transport.abort()
                await until(lambda: server.connections == 0)
                assert live.readers == 0
                live.publish(b"to nobody\n")


class TestWork:
    """Nodes that answer with coroutines."""

    class Gate(Named, File, Handle):
        """Reads wait for the gate; counts what is under way and what was cancelled."""

        def __init__(self) -> None:
            super().__init__("gate")
            self.gate = asyncio.Event()
            self.under_way = self.most = self.cancelled = 0

        def stat(self) -> Answer[Stat]:
            return Stat("gate", Kind.FILE, self.inode)

        def open(self) -> Answer[Handle]:
            return self

        def read(self, offset: int, count: int) -> Answer[bytes]:
            return self._read()

        async def _read(self) -> bytes:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.under_way -= 1
            return b"done"

    @pytest.fixture
    def gate(self) -> Gate:
        return self.Gate()

    @pytest.fixture
    async def raw(self, gate: Gate, tmp_path: Path) -> AsyncIterator[RawClient]:
        tree = StaticDirectory("/", [gate])
        limits = ConnectionLimits(max_running=3)
        async with serve(lambda _: tree, f"unix://{tmp_path}/s", limits=limits) as server:
            raw = await (await RawClient.connect(server.endpoints[0])).attach()
            raw.send(Twalk(ROOT, ONE, ("gate",)), 1)
            raw.send(Topen(ONE, 0), 1)
            await raw.receive()
            assert isinstance((await raw.receive())[1], Ropen)
            yield raw
            await raw.close()

    async def test_does_not_hold_up_other_requests(self, raw: RawClient, gate: Gate) -> None:
        raw.send(Tread(ONE, 0, 10), 1)
        raw.send(Twalk(ROOT, ROOT, ()), 2)
        assert await raw.receive() == (2, Rwalk(()))
        gate.gate.set()
        assert await raw.receive() == (1, Rread(b"done"))

    async def test_beyond_the_cap_waits_unread(self, raw: RawClient, gate: Gate) -> None:
        for tag in range(20):
            raw.send(Tread(ONE, 0, 10), tag)
        await until(lambda: gate.under_way == 3)
        gate.gate.set()
        assert sorted([await raw.receive() for _ in range(20)]) == [
            (tag, Rread(b"done")) for tag in range(20)
        ]
        assert gate.most <= 3

    async def test_that_is_flushed_ends_before_the_flush_is_answered(
        self, raw: RawClient, gate: Gate
    ) -> None:
        raw.send(Tread(ONE, 0, 10), 1)
        raw.send(Tflush(Tag(1)), 2)
        raw.send(Tflush(Tag(99)), 3)
        assert await raw.receive() == (3, Rflush())
        gate.gate.set()
        assert await raw.receive() == (2, Rflush())

    async def test_is_cancelled_when_the_client_goes(self, raw: RawClient, gate: Gate) -> None:
        raw.send(Tread(ONE, 0, 10), 1)
        await until(lambda: gate.under_way == 1)
        raw.writer.transport.abort()
        await until(lambda: gate.cancelled == 1)

    async def test_may_be_cancelled_before_it_began(self, raw: RawClient) -> None:
        raw.send(Tread(ONE, 0, 10), 1)
        raw.writer.transport.abort()


class TestRoots:
    async def test_are_made_for_each_connection_and_closed_after_it(self, tmp_path: Path) -> None:
        events: list[str] = []

        @contextlib.contextmanager
        def root(connection: ConnectionInfo) -> Iterator[Directory]:
            tree = TreeDirectory()
            tree.add_file(f"connection-{connection.number}")
            events.append(f"open {connection.number}")
            yield tree
            events.append(f"close {connection.number}")

        async with serve(root, f"unix://{tmp_path}/s") as server:
            async with connect(server.endpoints[0]) as one, connect(server.endpoints[0]) as two:
                assert await one.names([]) == ["connection-1"]
                assert await two.names([]) == ["connection-2"]
                assert events == ["open 1", "open 2"]
            await until(lambda: server.connections == 0)
            assert sorted(events) == ["close 1", "close 2", "open 1", "open 2"]

    async def test_may_take_their_time(self, tmp_path: Path) -> None:
        events: list[str] = []

        @contextlib.asynccontextmanager
        async def root(connection: ConnectionInfo) -> AsyncIterator[Directory]:
            await asyncio.sleep(0)
            yield TreeDirectory()
            events.append("closed")

        async with (
            serve(root, f"unix://{tmp_path}/s") as server,
            connect(server.endpoints[0]) as client,
        ):
            assert await client.names([]) == []
        assert events == ["closed"]

    async def test_that_fail_end_their_connection_only(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def root(connection: ConnectionInfo) -> Directory:
            if connection.number == 1:
                raise RuntimeError("no root today")
            return TreeDirectory()

        async with serve(root, f"unix://{tmp_path}/s") as server:
            unlucky = await RawClient.connect(server.endpoints[0])
            assert await unlucky.at_end()
            await unlucky.close()
            assert "no root today" in caplog.text
            async with connect(server.endpoints[0]) as client:
                assert await client.names([]) == []


class TestLife:
    async def test_stopping_ends_connections_with_their_replies_sent(
        self, root: TreeDirectory, tmp_path: Path
    ) -> None:
        async with serve(lambda _: root, f"unix://{tmp_path}/s") as server:
            raw = await (await RawClient.connect(server.endpoints[0])).attach()
            assert server.connections == 1
        assert server.connections == 0
        assert await raw.at_end()
        await raw.close()

    async def test_stopping_does_not_wait_for_a_client_that_takes_nothing(
        self, root: TreeDirectory, tmp_path: Path
    ) -> None:
        root.add_file("big", bytes(1 << 22))
        limits = ConnectionLimits(grace=0.05)
        async with serve(lambda _: root, f"unix://{tmp_path}/s", limits=limits) as server:
            raw = await (await RawClient.connect(server.endpoints[0])).attach(msize=1 << 20)
            raw.send(Twalk(ROOT, ONE, ("big",)), 0)
            raw.send(Topen(ONE, 0), 1)
            for tag in range(2, 40):
                raw.send(Tread(ONE, 0, 1 << 20), tag)
            await raw.receive()
        await raw.close()

    async def test_serve_forever_ends_when_cancelled(self, root: TreeDirectory) -> None:
        async with serve(lambda _: root, "tcp://127.0.0.1:0") as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await server.serve_forever()

    async def test_opening_and_closing_are_logged(
        self, root: TreeDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with (
            serve(lambda _: root, f"unix://{tmp_path}/s") as server,
            connect(server.endpoints[0]),
        ):
            pass
        lines = [record.message for record in caplog.records if "connection 1" in record.message]
        assert [line.rsplit(" ", 1)[1] for line in lines] == ["opened", "closed"]

    async def test_a_new_version_begins_the_session_anew(self, raw: RawClient) -> None:
        await raw.attach()
        raw.send(Twalk(ROOT, ONE, ("f",)), 1)
        raw.send(Tversion(4096, "9P2000"), NO_TAG)
        raw.send(Tclunk(ONE), 1)
        assert isinstance((await raw.receive())[1], Rwalk)
        assert await raw.receive() == (NO_TAG, Rversion(4096, "9P2000"))
        assert await raw.receive() == (1, Rerror("Expected Attach message"))

    async def test_limits_are_those_of_the_server(
        self, root: TreeDirectory, tmp_path: Path
    ) -> None:
        limits = ConnectionLimits(session=Limits(max_msize=4096, max_fids=2))
        async with (
            serve(lambda _: root, f"unix://{tmp_path}/s", limits=limits) as server,
            connect(server.endpoints[0]) as client,
        ):
            assert client.msize == 4096
