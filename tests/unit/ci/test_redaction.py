"""Redaction: the forms in which programs print a secret."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from datakit_ci.redaction import NO_SECRETS, Redaction

TOKEN = b'p4ss/w0rd+"with" ~all?'
REDACTION = Redaction({"TOKEN": TOKEN, "OTHER": b"another-secret"})


@pytest.mark.parametrize(
    "printed",
    [
        TOKEN,
        quote(TOKEN).encode(),
        quote(TOKEN, safe="").encode(),
        quote_plus(TOKEN).encode(),
        quote(TOKEN, safe="").lower().encode(),
        json.dumps({"a": TOKEN.decode()}).encode(),
    ],
)
def test_every_form_is_found(printed: bytes) -> None:
    assert b"w0rd" not in REDACTION.clean(b"before " + printed + b" after")
    assert REDACTION.named_in(printed) == "TOKEN"


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:"])
@pytest.mark.parametrize("after", [b"", b"x", b"xyz"])
def test_base64_is_found_at_every_place(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        clean = REDACTION.clean(encode(before + TOKEN + after))
        assert b"***" in clean
        # At most the bits that the secret shares with what is around it are left.
        assert len(clean.replace(b"***", b"")) <= len(encode(before)) + len(encode(after)) + 4


def test_secrets_that_overlap_become_one_mark() -> None:
    redaction = Redaction({"A": b"abcdefgh", "B": b"efghijkl"})
    assert redaction.clean(b"<abcdefghijkl>") == b"<***>"


def test_a_secret_within_another_does_not_uncover_it() -> None:
    redaction = Redaction({"A": b"abcdefgh", "B": b"xabcdefghy"})
    assert redaction.clean(b"<xabcdefghy>") == b"<***>"
    assert redaction.clean(b"<xabcdefghz>") == b"<x***z>"


def test_what_has_begun_as_a_secret_and_is_none_comes_out_unchanged() -> None:
    redactor = REDACTION.stream()
    assert redactor.feed(b"x another-sec") == b"x "
    assert redactor.feed(b"tion") == b"another-section"
    assert redactor.finish() == b""


def test_a_secret_is_let_go_as_soon_as_it_is_complete() -> None:
    redactor = REDACTION.stream()
    assert redactor.feed(b"another-secret") == b"***"


def test_each_line_of_a_key_is_found_alone() -> None:
    redaction = Redaction({"KEY": b"-----BEGIN-----\nMIIEowIBAAKCAQ\nshort\n-----END-----"})
    assert redaction.clean(b"  MIIEowIBAAKCAQ\n  short\n") == b"  ***\n  short\n"


def test_text_may_hold_any_bytes() -> None:
    assert REDACTION.text("\udcff another-secret ü") == "\udcff *** ü"


def test_without_secrets_nothing_is_touched_or_held() -> None:
    assert not NO_SECRETS
    assert NO_SECRETS.stream().feed(TOKEN) == TOKEN
    assert NO_SECRETS.named_in(TOKEN) is None


def test_values_are_not_in_the_representation() -> None:
    assert "another" not in repr(REDACTION)
