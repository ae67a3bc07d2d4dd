"""Which URLs a client may have fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.errors import ConfigError, InvalidArgument, NotPermitted
from datakit_core.store import ANYTHING, FOR_OTHERS, FetchPolicy


def test_by_default_others_fetch_over_https_only() -> None:
    assert FOR_OTHERS.admit("https://example.org/x") == "https://example.org/x"
    assert FOR_OTHERS.anonymous
    for url in ("http://example.org/x", "ssh://example.org/x", "git://example.org/x"):
        with pytest.raises(NotPermitted, match=rf"--allow-fetch {url.partition(':')[0]}, or"):
            FOR_OTHERS.admit(url)
    assert FetchPolicy.parse("https") == FOR_OTHERS


@pytest.mark.parametrize("url", ["/srv/x", "file:///srv/x", "//srv/x", "file://srv/x"])
def test_a_local_repository_is_refused_with_what_would_allow_it(url: str) -> None:
    with pytest.raises(NotPermitted, match=r"start it with --allow-fetch file:/srv/x, or connect"):
        FOR_OTHERS.admit(url)
    assert ANYTHING.admit(url) == "/srv/x"


def test_a_refusal_does_not_repeat_passwords() -> None:
    with pytest.raises(NotPermitted) as error:
        FOR_OTHERS.admit("http://alice:p@ss@example.org/x")
    assert "ss@" not in str(error.value)
    assert "alice" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("{}/open/a.git", True),
        ("file://{}/open/deep/b.git", True),
        ("file://{}/open/%61.git", True),
        ("{}/open/../secret", False),
        ("file://{}/open/%2e%2e/secret", False),
        ("{}/open/link", False),
        ("{}/open", False),
        ("{}/opened", False),
        ("{}/way/x", True),
    ],
)
def test_patterns_hold_for_where_a_path_really_leads(
    path: str, allowed: bool, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "way").symlink_to(tmp_path / "open")
    policy = FetchPolicy.parse(f"https,file:{tmp_path}/way/*")
    if allowed:
        assert policy.admit(path.format(tmp_path)).startswith(f"{tmp_path}/open/")
    else:
        with pytest.raises(NotPermitted):
            policy.admit(path.format(tmp_path))


def test_a_path_without_wild_cards_is_one_repository(tmp_path: Path) -> None:
    policy = FetchPolicy.parse(f"file:{tmp_path}/a")
    assert policy.admit(f"file://{tmp_path}/a/") == f"{tmp_path}/a"
    with pytest.raises(NotPermitted):
        policy.admit(f"{tmp_path}/b")


def test_nothing_and_everything_can_be_allowed() -> None:
    with pytest.raises(NotPermitted):
        FetchPolicy.parse("none").admit("https://example.org/x")
    assert FetchPolicy.parse("file").admit("/anywhere") == "/anywhere"


@pytest.mark.parametrize("url", ["ext::sh -c evil", "relative", "file:///a%00b", "ssh://-oX/y"])
def test_what_git_must_not_be_given_is_refused_by_every_policy(url: str) -> None:
    with pytest.raises(InvalidArgument):
        ANYTHING.admit(url)


@pytest.mark.parametrize("text", ["ftp", "https://example.org", "file:relative", "ext", "ssh:/x"])
def test_other_lists_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--allow-fetch: .* is none of https, http, ssh, git"):
        FetchPolicy.parse(text)
