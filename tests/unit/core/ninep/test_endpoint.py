"""URLs of endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.errors import ConfigError
from datakit_core.ninep.endpoint import (
    Endpoint,
    FdEndpoint,
    TcpEndpoint,
    TlsEndpoint,
    UnixEndpoint,
    parse_endpoint,
)

KNOWN = [
    ("tcp://127.0.0.1:5640", TcpEndpoint()),
    ("tcp://[::1]:0", TcpEndpoint("::1", 0)),
    ("tcp://db.example:564?ro", TcpEndpoint("db.example", 564, read_only=True)),
    ("unix:///run/datakit/9p", UnixEndpoint(Path("/run/datakit/9p"))),
    ("unix:///run/9p?ro", UnixEndpoint(Path("/run/9p"), read_only=True)),
    ("fd://3", FdEndpoint(3)),
    ("fd://3?ro", FdEndpoint(3, read_only=True)),
    (
        "tcp://127.0.0.1:5640?ro&branch=results/*&branch=main",
        TcpEndpoint(read_only=True, branches=("results/*", "main")),
    ),
    ("unix:///s?branch=a%26b", UnixEndpoint(Path("/s"), branches=("a&b",))),
    ("tls://h:1", TlsEndpoint("h", 1)),
    (
        "tls://[::1]:1?cert=/etc/a%20b.pem&key=k&ca=c&ro&branch=*",
        TlsEndpoint("::1", 1, Path("/etc/a b.pem"), Path("k"), Path("c"), True, ("*",)),
    ),
]


@pytest.mark.parametrize(("url", "endpoint"), KNOWN)
def test_a_url_and_its_endpoint_mean_the_same(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint
    assert str(endpoint) == url


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("tcp://localhost", TcpEndpoint("localhost")),
        ("tcp://:5640", TcpEndpoint()),
        ("tcp://127.0.0.1:5640/", TcpEndpoint()),
        ("file:///run/9p", UnixEndpoint(Path("/run/9p"))),
        ("unix:///a%20b", UnixEndpoint(Path("/a b"))),
    ],
)
def test_shorter_forms_are_understood(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "expected tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or fd://N"),
        ("127.0.0.1:5640", "expected tcp://HOST:PORT"),
        ("http://127.0.0.1", "expected tcp://HOST:PORT"),
        ("tcp://h:port", "port"),
        ("tcp://h:70000", "ort"),
        ("tcp://h:1/path", "unexpected path '/path'"),
        ("unix://relative/path", "absolute path after three slashes"),
        ("unix:///", "absolute path"),
        ("fd://x", "invalid literal"),
        ("fd://", "invalid literal"),
        ("tcp://h?read-only", "unknown option 'read-only'"),
        ("tcp://h?ro=no", "takes no value"),
        ("tcp://h?branch", "needs a pattern"),
        ("tcp://h?cert=x", "unknown option 'cert'"),
        ("tls://h?cert=", "option 'cert' needs a file"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        parse_endpoint(url)
    assert repr(url) in str(error.value)
