"""Where the metrics are served, as people write it."""

from __future__ import annotations

import pytest

from datakit_core.errors import ConfigError
from datakit_core.metrics import Address


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("9090", "127.0.0.1", 9090, "http://127.0.0.1:9090/metrics"),
        (":0", "127.0.0.1", 0, "http://127.0.0.1:0/metrics"),
        ("0.0.0.0:80", "0.0.0.0", 80, "http://0.0.0.0:80/metrics"),
        ("[::1]:65535", "::1", 65535, "http://[::1]:65535/metrics"),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(
    text: str, host: str, port: int, url: str
) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, url)


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "1:65536", "-1", "9090/", "٣"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--listen-prometheus: expected PORT or HOST:PORT"):
        Address.parse(text)
