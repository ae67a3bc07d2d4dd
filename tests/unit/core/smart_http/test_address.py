"""Addresses for Git over HTTP, and tokens."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from datakit_core.errors import ConfigError
from datakit_core.smart_http.address import HttpAddress, Token

SECRET = "0123456789abcdef0123"


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://127.0.0.1:80", HttpAddress("127.0.0.1", 80), "http://127.0.0.1:80/"),
        ("http://[::1]:0/a/b.git/", HttpAddress("::1", 0, "/a/b.git"), "http://[::1]:0/a/b.git/"),
        (
            "http://h:1?token=/t&any-id",
            HttpAddress("h", 1, token=Path("/t"), any_id=True),
            "http://h:1/",
        ),
        (
            "https://h:1?cert=c&key=k",
            HttpAddress("h", 1, cert=Path("c"), key=Path("k")),
            "https://h:1/",
        ),
    ],
)
def test_a_url_says_where_and_to_whom(url: str, address: HttpAddress, shown: str) -> None:
    assert HttpAddress.parse(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://h:1", "expected http://HOST:PORT"),
        ("http://h", "expected http://HOST:PORT"),
        ("http://h:x", "ort"),
        ("http://u:secret@h:1", "a token belongs in a file"),
        ("http://h:1?any-id=yes", "takes no value"),
        ("http://h:1?token=", "'token'"),
        ("http://h:1?cert=c", "'cert'"),
        ("https://h:1", "needs cert=FILE"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        HttpAddress.parse(url)
    assert str(error.value).startswith("--listen-http: ")


def token_file(path: Path, content: str = f"{SECRET}\n", mode: int = 0o600) -> Path:
    file = path / "token"
    file.write_text(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_token_that_others_can_touch_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"open to other users; .* chmod 600"):
        Token.read(token_file(tmp_path, mode=mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_token_that_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    file = token_file(tmp_path)
    os.chown(file, 65534, 65534)
    with pytest.raises(ConfigError, match="open to other users"):
        Token.read(file)


@pytest.mark.parametrize("content", ["", "short\n", f"{SECRET} {SECRET}\n", "ü" * 20])
def test_a_weak_token_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 16 ASCII characters"):
        Token.read(token_file(tmp_path, content))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Token.read(tmp_path / "none")
    with pytest.raises(ConfigError, match="is not a file"):
        Token.read(tmp_path)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {SECRET}", True),
        (f"bearer  {SECRET} ", True),
        (basic(f"anybody:{SECRET}"), True),
        (basic(f":{SECRET}"), True),
        ("", False),
        (SECRET, False),
        (f"Digest {SECRET}", False),
        (f"Bearer {SECRET[:-1]}", False),
        (f"Bearer {SECRET}x", False),
        ("Bearer ü", False),
        (basic(SECRET), False),
        (basic(f"{SECRET}:"), False),
        ("Basic !!!", False),
    ],
)
def test_only_the_right_token_opens(header: str, expected: bool, tmp_path: Path) -> None:
    assert Token.read(token_file(tmp_path)).is_in(header) is expected
