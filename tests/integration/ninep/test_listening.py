"""Where a server listens: sockets, permissions, and errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datakit_core.errors import ConfigError, ReadOnly
from datakit_core.ninep import Endpoint, FdEndpoint, TcpEndpoint, UnixEndpoint, connect, serve
from datakit_core.ninep.listening import describe_peer, open_socket
from tests.support.tree import TreeDirectory
from tests.support.waiting import until


def root(connection: object) -> TreeDirectory:
    tree = TreeDirectory()
    tree.add_file("f", b"hello")
    return tree


async def test_several_endpoints_are_served_at_once(tmp_path: Path) -> None:
    async with serve(root, "tcp://127.0.0.1:0", f"unix://{tmp_path}/s") as server:
        for endpoint in server.endpoints:
            async with connect(endpoint) as client:
                assert await client.read(["f"]) == b"hello"


@pytest.mark.parametrize("inherited", [False, True])
def test_replies_are_sent_at_once(inherited: bool) -> None:
    """A watcher waits for what nobody has just asked for; Nagle's algorithm would hold it back."""
    endpoint: Endpoint = TcpEndpoint("127.0.0.1", 0)
    if inherited:
        endpoint = FdEndpoint(socket.create_server(("127.0.0.1", 0)).detach())
    listener, _ = open_socket(endpoint)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_port_that_the_system_chose_is_told() -> None:
    async with serve(root, "tcp://127.0.0.1:0") as server:
        (endpoint,) = server.endpoints
        assert isinstance(endpoint, TcpEndpoint)
        assert endpoint.port > 0


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with serve(root, "tcp://127.0.0.1:0") as server:
        with pytest.raises(ConfigError, match="in use; stop the other server or choose another"):
            async with serve(root, server.endpoints[0]):
                pass
        async with connect(server.endpoints[0]) as client:
            assert await client.read(["f"]) == b"hello"


async def test_one_bad_endpoint_leaves_none_listening(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(ConfigError, match="no-such-directory"):
        async with serve(root, UnixEndpoint(path), f"unix://{tmp_path}/no-such-directory/s"):
            pass
    assert not path.exists()


async def test_an_unknown_host_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        async with serve(root, "tcp://host.invalid:0"):
            pass


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that others can look into, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def open_to_all(path: Path) -> None:
    path.chmod(0o666)


class TestUnixSockets:
    async def test_are_closed_to_others_and_removed_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        async with serve(root, UnixEndpoint(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    async def test_replace_one_that_nobody_listens_on(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        async with serve(root, f"file://{path}"), connect(f"unix://{path}") as client:
            assert await client.read(["f"]) == b"hello"

    async def test_do_not_replace_one_that_is_served(self, tmp_path: Path) -> None:
        endpoint = UnixEndpoint(tmp_path / "s")
        async with serve(root, endpoint):
            with pytest.raises(ConfigError, match="in use"):
                async with serve(root, endpoint):
                    pass
            async with connect(endpoint) as client:
                assert await client.read(["f"]) == b"hello"

    async def test_do_not_replace_other_files(self, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_text("keep")
        with pytest.raises(ConfigError, match="is no socket"):
            async with serve(root, UnixEndpoint(path)):
                pass
        assert path.read_text() == "keep"

    def test_know_who_connects(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert describe_peer(ours) == f"pid {os.getpid()} of user {os.geteuid()}"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    async def test_refuse_other_users_whatever_the_mode_is(self, public: Path) -> None:
        path = public / "s"
        async with serve(root, UnixEndpoint(path)) as server:
            open_to_all(path)
            code = (
                "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
                "s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))"
            )
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
            assert await process.wait() == 0  # the end of the connection, without a byte
            assert server.connections == 0


class TestDescriptors:
    async def test_of_a_listening_socket_are_served(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        async with (
            serve(root, FdEndpoint(listener.detach())),
            connect(TcpEndpoint(port=port)) as client,
        ):
            assert await client.read(["f"]) == b"hello"

    async def test_of_a_connection_are_served_and_used(self) -> None:
        ours, theirs = socket.socketpair()
        async with (
            serve(root, FdEndpoint(ours.detach())) as server,
            connect(FdEndpoint(theirs.detach())) as client,
        ):
            assert await client.read(["f"]) == b"hello"
            assert server.connections == 1

    async def test_of_something_else_are_one_clear_error(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(ConfigError, match="non-socket"):
            async with serve(root, FdEndpoint(file.fileno())):
                pass


async def test_a_read_only_endpoint_changes_nothing(tmp_path: Path) -> None:
    tree = TreeDirectory()
    tree.add_file("f", b"hello")
    async with (
        serve(lambda connection: tree, f"unix://{tmp_path}/s?ro") as server,
        connect(server.endpoints[0]) as client,
    ):
        assert await client.read(["f"]) == b"hello"
        async with client.open(["f"], 2) as file:
            with pytest.raises(ReadOnly):
                await file.write(0, b"x")
        for attempt in (
            client.write(["f"], b"x"),
            client.create(["g"]),
            client.remove(["f"]),
            client.rename(["f"], "g"),
            client.truncate(["f"], 0),
        ):
            with pytest.raises(ReadOnly):
                await attempt
        await until(lambda: not client.fids)
    assert list(tree.children) == ["f"]
