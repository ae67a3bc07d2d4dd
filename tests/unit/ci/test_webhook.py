"""What a pipeline may say of webhooks, and how they are signed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from datakit_ci.bridges.courier import pause_after
from datakit_ci.project import Config
from datakit_ci.secrets import Secret
from datakit_ci.webhook import Webhook, sign
from datakit_core.errors import ConfigError

SECRET = Secret.env("HOOK")


def test_a_signature_is_that_of_the_specification() -> None:
    """Examples that implementations of Standard Webhooks share."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    key = base64.b64decode("plJ3nmyCDGBKInavdOK15jsl")
    body = b'{"event_type":"ping","data":{"success":true}}'
    signed = sign(key, "msg_loFOjxBNrRLzqYUf", 1731705121, body)
    assert signed == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": "ftp://x/y"}, "https://HOST"),
        ({"url": "https://user:word@x/y"}, "https://HOST"),
        ({"secret": "plain"}, "say where its secret is"),
        ({"events": "target.finished"}, "are lists"),
        ({"events": ["target.eaten"]}, "none of target.finished, target.changed"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Webhook(**{"url": "https://x/y", "secret": SECRET, **arguments})


def test_an_endpoint_is_named_once() -> None:
    hook = Webhook("https://x/y", SECRET)
    with pytest.raises(ConfigError, match="twice"):
        Config(webhooks=[hook, hook])
    with pytest.raises(ConfigError, match="not a Webhook"):
        Config(webhooks=["https://x"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"short", "shorter"), (b"whsec_!", "not base64"), (b"whsec_c2hvcnQ=", "shorter")],
)
def test_a_bad_secret_is_named_and_not_told(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as raised:
        Webhook("https://x/y", Secret.file(file)).key()
    assert content.decode() not in str(raised.value).replace("shorter", "")


def test_an_endpoint_that_is_away_is_tried_ever_more_slowly_up_to_an_hour() -> None:
    assert pause_after(1) < 3 < pause_after(4) < 30
    assert 2_700 <= pause_after(100) <= 4_500
