"""The client against our own server: whole operations, cancellation, disconnection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.errors import (
    AlreadyExists,
    ClientError,
    ConfigError,
    Disconnected,
    IsDirectory,
    NoEntry,
    NotDirectory,
)
from datakit_core.ninep import LINUX, PLAIN, Client, Mode, OpenMode, Server, connect, serve
from datakit_core.vfs import (
    Answer,
    CommandFile,
    Deferred,
    DynamicDirectory,
    Live,
    Node,
    StaticDirectory,
    StreamFile,
    TextFile,
)
from tests.support.slow import LateFile
from tests.support.tree import TreeDirectory
from tests.support.waiting import until


class TestOperations:
    async def test_read_lists_and_describe(self, client: Client) -> None:
        assert await client.read(["f"]) == b"hello"
        assert await client.names([]) == ["f", "d"]
        assert (await client.stat(["d", "e", "deep"])).length == 4
        assert (await client.stat([])).name == "/"

    async def test_change_what_is_there(self, client: Client, root: TreeDirectory) -> None:
        await client.write(["f"], b"HE", truncate=False)
        assert await client.read(["f"]) == b"HEllo"
        await client.write(["f"], b"new")
        assert await client.read(["f"]) == b"new"
        await client.truncate(["f"], 1)
        await client.rename(["f"], "g")
        await client.chmod(["g"], 0o755)
        assert (await client.stat(["g"])).mode == 0o775
        assert await client.read(["g"]) == b"n"
        await client.remove(["d"])
        assert list(root.children) == ["g"]

    async def test_make_files_links_and_directories(self, client: Client) -> None:
        await client.mkdir(["new"])
        await client.create(["new", "x"], b"#!", perm=0o755)
        await client.create(["new", "l"], perm=Mode.LINK, target="x")
        assert [entry.mode for entry in await client.list(["new"])] == [0o775, 0x020001FD]
        assert (await client.stat(["new", "l"])).extension == "x"

    async def test_raise_the_errors_of_the_server(self, client: Client) -> None:
        with pytest.raises(NoEntry):
            await client.read(["x"])
        with pytest.raises(NotDirectory, match="Can't walk from a file"):
            await client.read(["f", "x"])
        with pytest.raises(AlreadyExists):
            await client.mkdir(["d"])
        with pytest.raises(IsDirectory):
            await client.write(["d"], b"x")

    async def test_a_dialect_of_kernels_is_refused_before_anything_is_sent(self) -> None:
        with pytest.raises(ClientError, match=r"does not speak 9P2000\.L; ask for 9P2000\.u"):
            async with connect("unix:///nobody/listens", dialect=LINUX):
                pass

    async def test_leave_no_fid_and_no_tag_behind(self, client: Client) -> None:
        await client.read(["f"])
        for path in (["x"], ["f", "x"], ["d"] * 20):
            with pytest.raises((NoEntry, NotDirectory)):
                await client.stat(path)
        with pytest.raises(NoEntry):
            await client.remove([])
        await until(lambda: not client.fids and not client.outstanding)

    async def test_may_overlap(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(client.read(["d", "e", "deep"])) for _ in range(50)]
        assert {read.result() for read in reads} == {b"down"}

    async def test_walk_paths_of_any_length(self, client: Client, root: TreeDirectory) -> None:
        directory = root
        for _ in range(40):
            directory = directory.add_directory("n")
        directory.add_file("end", b"found")
        assert await client.read(["n"] * 40 + ["end"]) == b"found"
        with pytest.raises(NoEntry):
            await client.read(["n"] * 41)

    @pytest.mark.parametrize("size", [0, 1, 8169, 8170, 100_000, 3_000_000])
    async def test_move_contents_of_any_size(
        self, server: Server, root: TreeDirectory, size: int
    ) -> None:
        content = bytes(range(256)) * (size // 256 + 1)
        content = content[:size]
        async with connect(server.endpoints[0], msize=8192) as client:
            await client.create(["big"], content)
            assert await client.read(["big"]) == content

    async def test_speak_plain_9p_too(self, server: Server) -> None:
        async with connect(server.endpoints[0], dialect=PLAIN) as client:
            assert client.dialect is PLAIN
            assert await client.names([]) == ["f", "d"]
            with pytest.raises(NoEntry):
                await client.read(["x"])


class TestStreamsAndCommands:
    @pytest.fixture
    def live(self) -> Live:
        return Live(b"one\n")

    @pytest.fixture
    async def client(self, live: Live, tmp_path: Path) -> AsyncIterator[Client]:
        root = StaticDirectory(
            "/",
            [
                StreamFile("live", live.open),
                CommandFile("ctl", lambda text: text.upper().encode()),
            ],
        )
        async with (
            serve(lambda connection: root, f"unix://{tmp_path}/s") as server,
            connect(server.endpoints[0]) as client,
        ):
            yield client

    async def test_lines_follow_a_stream(self, client: Client, live: Live) -> None:
        lines = client.lines(["live"])
        assert await anext(lines) == b"one\n"
        live.publish(b"two\n")
        assert await anext(lines) == b"two\n"
        await lines.aclose()
        await until(lambda: live.readers == 0)

    async def test_read_takes_what_a_stream_has_now(self, client: Client) -> None:
        assert await client.read(["live"]) == b"one\n"

    async def test_a_command_gives_its_result(self, client: Client) -> None:
        assert await client.command(["ctl"], "hey") == b"HEY"

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_read_of_a_stream_loses_no_value(
        self, client: Client, live: Live, turns: int
    ) -> None:
        async with client.open(["live"]) as file:
            assert [await file.read(0), await file.read(4)] == [b"one\n", b""]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await file.read(4)
            for _ in range(turns):  # the value may meet the flush anywhere on its way
                await asyncio.sleep(0)
            live.publish(b"section\n")
            assert [await file.read(4, 3), await file.read(7, 9)] in (
                [b"sec", b""],
                [b"sec", b"tion\n"],
            )


class TestCancellation:
    """A cancelled call leaves neither tag nor fid."""

    @pytest.fixture
    def file(self) -> LateFile:
        return LateFile("late")

    @pytest.fixture
    def lookups(self) -> list[Deferred[Node]]:
        return []

    @pytest.fixture
    async def client(
        self, file: LateFile, lookups: list[Deferred[Node]], tmp_path: Path
    ) -> AsyncIterator[Client]:
        def lookup(name: str) -> Answer[Node]:
            lookups.append(Deferred())
            return lookups[-1]

        root = StaticDirectory(
            "/", [file, TextFile("ready", b"now"), DynamicDirectory("slow", lookup)]
        )
        async with (
            serve(lambda connection: root, f"unix://{tmp_path}/s") as server,
            connect(server.endpoints[0]) as client,
        ):
            yield client

    async def cancelled(self, client: Client, path: list[str], begun: list[Deferred[Node]]) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.read(path))
            while not begun:
                await client.read(["ready"])
            task.cancel()
        await until(lambda: not client.fids and not client.outstanding)

    async def test_while_it_walks(self, client: Client, lookups: list[Deferred[Node]]) -> None:
        await self.cancelled(client, ["slow", "x"], lookups)
        assert lookups[0].done

    async def test_while_it_reads(self, client: Client, file: LateFile) -> None:
        await self.cancelled(client, ["late"], file.reads)  # type: ignore[arg-type]
        assert file.reads[0].done
        assert await client.read(["ready"]) == b"now"

    async def test_when_the_reply_is_there_already(self, client: Client) -> None:
        for turns in range(12):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(client.read(["ready"]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            await until(lambda: not client.fids and not client.outstanding)
        assert await client.read(["ready"]) == b"now"


class TestConnections:
    async def test_to_nobody_say_so(self, tmp_path: Path) -> None:
        with pytest.raises(Disconnected, match=r"is the server running\?"):
            async with connect(f"unix://{tmp_path}/nobody"):
                pass

    async def test_need_an_address_that_makes_sense(self) -> None:
        with pytest.raises(ConfigError, match="expected tcp://HOST:PORT"):
            async with connect("http://localhost"):
                pass

    async def test_that_end_tell_everybody_who_waits(self, tmp_path: Path) -> None:
        live = Live()
        root = StaticDirectory("/", [StreamFile("live", live.open)])
        async with serve(lambda connection: root, f"unix://{tmp_path}/s") as server:
            endpoint = server.endpoints[0]
            async with connect(endpoint) as client, asyncio.TaskGroup() as group:

                async def wait() -> None:
                    with pytest.raises(Disconnected):
                        await client.read(["live"])

                group.create_task(wait())
                while not live.readers:
                    await client.stat([])
                await server.__aexit__(None, None, None)
            with pytest.raises(Disconnected):
                await client.stat([])

    async def test_open_with_the_mode_that_is_asked_for(self, client: Client) -> None:
        async with client.open(["f"], OpenMode.READ_WRITE | OpenMode.TRUNCATE) as file:
            await file.write(0, b"x")
            assert (await file.stat()).length == 1
