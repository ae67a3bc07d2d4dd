"""What a pipeline may say of notices, what is news, and which line of a log is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from datakit_ci.bridges.notices import first_error
from datakit_ci.notice import Mail, Slack, Verdict, verdict_of
from datakit_ci.project import Config
from datakit_ci.secrets import Secret
from datakit_ci.state import Status
from datakit_core.errors import ConfigError

ADDRESS = Secret.env("SLACK")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, Status.FAILURE, Verdict.BROKEN),
        (None, Status.SUCCESS, None),
        ("success", Status.ERROR, Verdict.BROKEN),
        ("failure", Status.ERROR, None),
        ("failure", Status.RUNNING, None),
        ("failure", Status.CANCELLED, None),
        ("error", Status.SUCCESS, Verdict.FIXED),
        ("running", Status.FAILURE, Verdict.BROKEN),
        ("running", Status.SUCCESS, None),
    ],
)
def test_news_is_what_breaks_and_what_is_fixed(
    before: str | None, now: Status, said: Verdict | None
) -> None:
    assert verdict_of(before, now) is said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"to": "ann@example.org"}, "are lists"),
        ({"to": ["Ann <ann@example.org>"]}, "not an address"),
        ({"to": ["a@b\r\nBcc: c@d"]}, "not an address"),
        ({"to": []}, "nobody to write to"),
        ({"smtp": "mail.example.org:99999"}, "HOST:PORT"),
        ({"smtp": "https://mail.example.org"}, "HOST:PORT"),
        ({"sender": "ci"}, "not an address"),
        ({"user": "ci"}, "neither"),
        ({"user": "ci", "password": ADDRESS, "tls": False}, "without tls"),
    ],
)
def test_mail_that_makes_no_sense_is_refused(arguments: dict[str, Any], says: str) -> None:
    known = {"to": ["ann@example.org"], "smtp": "localhost", "sender": "ci@example.org"}
    with pytest.raises(ConfigError, match=says):
        Mail(**{**known, **arguments})


def test_a_mail_server_has_the_port_of_submission_unless_another_is_given() -> None:
    assert Mail(["a@b"], "mail", sender="c@d").port == 587
    mail = Mail(["a@b"], "[::1]:25", sender="c@d")
    assert (mail.host, mail.port) == ("::1", 25)


def test_an_address_of_slack_is_a_secret_and_named_once() -> None:
    with pytest.raises(ConfigError, match="say where the address is"):
        Slack("https://hooks.example.org/T0")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="twice"):
        Config(notify=[Slack(ADDRESS), Slack(ADDRESS)])
    with pytest.raises(ConfigError, match="neither a Slack nor a Mail"):
        Config(notify=["ann@example.org"])  # type: ignore[list-item]


async def log(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("pieces", "line"),
    [
        ([b"$ make\nok\na.c:3: err", b"or: no x\nerror: more\n"], "a.c:3: error: no x"),
        ([b"\x1b[31mFAILED\x1b[0m test_x\n"], "FAILED test_x"),
        ([b"all terrors are fine\n"], ""),
        ([b"fatal: at the end"], "fatal: at the end"),
        ([b"x" * (1 << 20), b"\n", b"error: late\n", b"error: later\n"], ""),
        ([], ""),
    ],
)
async def test_the_first_line_that_looks_like_an_error_is_told(
    pieces: list[bytes], line: str
) -> None:
    assert await first_error(log(*pieces)) == line
