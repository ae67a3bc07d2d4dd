"""Listeners within TLS: both sides show certificates, and others do not come in."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from datakit_core.errors import ConfigError, Disconnected
from datakit_core.ninep import Endpoint, TcpEndpoint, TlsEndpoint, connect, serve
from tests.support.certificates import Authority, Identity
from tests.support.tree import TreeDirectory


def root(connection: object) -> TreeDirectory:
    tree = TreeDirectory()
    tree.add_file("f", b"hello" * 50_000)
    return tree


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def listener(authority: Authority) -> TlsEndpoint:
    """An endpoint to serve on."""
    own = authority.identity("server")
    return TlsEndpoint(port=0, cert=own.cert, key=own.key, ca=authority.cert)


def as_client(endpoint: Endpoint, who: Identity | None, ca: Path) -> TlsEndpoint:
    """How ``who``, trusting in ``ca``, connects to a server's ``endpoint``."""
    assert isinstance(endpoint, TlsEndpoint)
    cert, key = (who.cert, who.key) if who is not None else (None, None)
    return TlsEndpoint(port=endpoint.port, cert=cert, key=key, ca=ca)


async def test_a_client_with_a_certificate_comes_in_and_is_named_in_the_log(
    authority: Authority, listener: TlsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datakit_core.ninep")
    alice = authority.identity("alice")
    async with serve(root, listener) as server:
        url = str(as_client(server.endpoints[0], alice, authority.cert))
        async with connect(url) as client:
            assert await client.read(["f"]) == b"hello" * 50_000
    assert "'alice' at 127.0.0.1:" in caplog.text


async def test_without_a_certificate_of_the_authority_nobody_comes_in(
    authority: Authority, listener: TlsEndpoint, tmp_path: Path
) -> None:
    mallory = Authority(tmp_path, "forger").identity("mallory")
    made: list[object] = []

    def noting(connection: object) -> TreeDirectory:
        made.append(connection)
        return root(connection)

    async with serve(noting, listener) as server:
        (endpoint,) = server.endpoints
        for who in (None, mallory):
            with pytest.raises(Disconnected):
                async with connect(as_client(endpoint, who, authority.cert)):
                    pass
        assert isinstance(endpoint, TlsEndpoint)
        with pytest.raises(Disconnected):
            async with connect(TcpEndpoint(port=endpoint.port)):
                pass
    assert made == []


async def test_a_client_does_not_talk_to_a_server_that_it_cannot_verify(
    authority: Authority, listener: TlsEndpoint, tmp_path: Path
) -> None:
    alice = authority.identity("alice")
    other = Authority(tmp_path, "other")
    async with serve(root, listener) as server:
        for ca in (other.cert, None):
            endpoint = as_client(server.endpoints[0], alice, other.cert)
            url = TlsEndpoint(endpoint.host, endpoint.port, alice.cert, alice.key, ca)
            with pytest.raises(Disconnected, match="certificate verify failed"):
                async with connect(url):
                    pass


async def test_a_connection_that_never_shakes_hands_holds_up_nobody(
    authority: Authority, listener: TlsEndpoint
) -> None:
    alice = authority.identity("alice")
    async with serve(root, listener) as server:
        endpoint = server.endpoints[0]
        assert isinstance(endpoint, TlsEndpoint)
        _, silent = await asyncio.open_connection("127.0.0.1", endpoint.port)
        async with connect(as_client(endpoint, alice, authority.cert)) as client:
            assert len(await client.read(["f"])) == 250_000
        silent.close()
        await silent.wait_closed()


@pytest.mark.parametrize("missing", ["cert", "key", "ca"])
async def test_a_listener_needs_all_three_files(
    missing: str, listener: TlsEndpoint, tmp_path: Path
) -> None:
    files = {"cert": listener.cert, "key": listener.key, "ca": listener.ca}
    given = "&".join(f"{name}={file}" for name, file in files.items() if name != missing)
    with pytest.raises(ConfigError, match=r"needs cert=FILE and key=FILE.*ca=FILE"):
        async with serve(root, f"tls://127.0.0.1:0?{given}"):
            pass
    absent = tmp_path / "absent"
    with pytest.raises(ConfigError, match=rf"{absent}: cannot be read: No such file"):
        async with serve(root, f"tls://127.0.0.1:0?{given}&{missing}={absent}"):
            pass


async def test_files_that_do_not_fit_are_named(listener: TlsEndpoint, authority: Authority) -> None:
    other = authority.identity("other")
    with pytest.raises(ConfigError, match=r"no certificate with an unencrypted key that fits it"):
        async with serve(root, TlsEndpoint(cert=listener.cert, key=other.key, ca=authority.cert)):
            pass
    with pytest.raises(ConfigError, match=rf"{other.key}: no certificates of authorities"):
        async with serve(root, TlsEndpoint(cert=other.cert, key=other.key, ca=other.key)):
            pass
