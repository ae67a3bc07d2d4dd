"""Which URLs may be fetched from, and what errors say of them."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument
from datakit_core.store.git import check_url, reason, split_credentials, without_credentials


@pytest.mark.parametrize(
    "url",
    ["/srv/repo.git", "file:///srv/repo.git", "https://example.org/a.git", "http://example.org/a",
     "ssh://git@example.org:22/a.git", "git://example.org/a", "https://user:secret@example.org/a"],
)  # fmt: skip
def test_allowed_urls(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "repo", "./repo", "../repo", "-u/bin/sh", "--upload-pack=x", "ext::sh -c x", "fd::3",
     "ssh://-oProxyCommand=x/a", "ssh://user@-oProxyCommand=x/a", "ssh://-x@host/a", "user@host:a",
     "ssh://host/-x", "ftp://example.org/a", "HTTPS://example.org/a", "https:/example.org",
     "file+ssh://x/y", "https://example.org/a\nb", "/srv/\0x", "transport::https://example.org/a"],
)  # fmt: skip
def test_refused_urls(url: str) -> None:
    with pytest.raises(InvalidArgument):
        check_url(url)


def test_credentials_are_taken_out() -> None:
    text = "fatal: 'https://user:se/cret@example.org/a' and ssh://git@example.org/b"
    assert "secret" not in without_credentials("https://user:secret@example.org/a")
    assert without_credentials("https://user:secret@example.org/a") == "https://example.org/a"
    assert without_credentials(text).endswith("ssh://example.org/b")


def test_a_refused_url_is_named_without_its_credentials() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_url("ftp://user:secret@example.org/a")
    assert "secret" not in str(caught.value)


def test_user_and_password_travel_in_the_environment() -> None:
    shown, variables = split_credentials("https://bot:p%40ss@example.org:8443/x.git")
    assert shown == "https://example.org:8443/x.git"
    assert variables == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "http.https://example.org:8443/x.git.extraHeader",
        "GIT_CONFIG_VALUE_0": "Authorization: Basic Ym90OnBAc3M=",
        "GIT_CONFIG_KEY_1": "http.followRedirects",
        "GIT_CONFIG_VALUE_1": "false",
    }


@pytest.mark.parametrize("url", ["https://example.org/x", "ssh://git@example.org/x", "/srv/a@b"])
def test_a_url_without_a_password_is_left_as_it_is(url: str) -> None:
    assert split_credentials(url) == (url, {})


def test_a_complaint_is_told_without_passwords_and_control_characters() -> None:
    said = b"noise\nremote: \x1b[2Jcleared\rfake\nfatal: no http://alice:s3cret@host/x\n"
    assert reason(said) == "remote: ?[2Jcleared; fatal: no http://host/x"
