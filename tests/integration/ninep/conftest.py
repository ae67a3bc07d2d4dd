"""A tree, a server on each kind of socket, and clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.ninep import Client, Server, connect, serve
from tests.support.tree import TreeDirectory


@pytest.fixture
def root() -> TreeDirectory:
    tree = TreeDirectory()
    tree.add_file("f", b"hello")
    tree.add_directory("d").add_directory("e").add_file("deep", b"down")
    return tree


@pytest.fixture(params=["unix", "tcp"])
async def server(
    request: pytest.FixtureRequest, root: TreeDirectory, tmp_path: Path
) -> AsyncIterator[Server]:
    urls = {"unix": f"unix://{tmp_path}/9p.sock", "tcp": "tcp://127.0.0.1:0"}
    async with serve(lambda connection: root, urls[request.param]) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with connect(server.endpoints[0]) as connected:
        yield connected
