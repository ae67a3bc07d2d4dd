"""What administrators are told of the service, and that nothing of it opens a door."""

from __future__ import annotations

import pytest

from datakit_ci.acl import any_of, everyone, github_org, username
from datakit_ci.dashboard.particulars import plain_options, projects, secrets, tame
from datakit_ci.project import Config, Project
from datakit_ci.retention import Retention
from datakit_ci.secrets import Secret


def _all(_project: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://ann:hunter2@cache:6379/0", "redis://…@cache:6379/0"),
        ("https://example.org/x?token=hunter2#hunter2", "https://example.org/x?…"),
        ("tcp://127.0.0.1:5640", "tcp://127.0.0.1:5640"),
        ("/var/lib/state.git", "/var/lib/state.git"),
        ("full", "full"),
        ("http://[hunter2@x", "x"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(address: str, shown: str) -> None:
    assert tame(address) == shown


def test_a_path_that_may_be_a_token_can_be_left_out() -> None:
    assert tame("https://hooks.example.org/T0/hunter2", only_host=True) == (
        "https://hooks.example.org/…"
    )
    assert tame("https://hooks.example.org/", only_host=True) == "https://hooks.example.org"


def test_options_are_shown_as_they_are_written_and_a_digest_is_not() -> None:
    given = {
        "web_ui": "http://127.0.0.1:8080",
        "listen_9p": ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"),
        "metrics_token_hash": "a" * 64,
        "auto_push": "https://ann:hunter2@example.org/state.git",
        "public_url": "",
        "canary": (),
        "tls_cert": None,
    }
    assert plain_options(given) == {
        "--web-ui": "http://127.0.0.1:8080",
        "--listen-9p": "tcp://127.0.0.1:1, tcp://127.0.0.1:2",
        "--metrics-token-hash": "given",
        "--auto-push": "https://…@example.org/state.git",
    }


def test_projects_say_in_words_who_may_do_what() -> None:
    config = Config(
        projects=[
            Project("me/open", lambda _: {}, can_read=everyone, retention=Retention(days=7)),
            Project("me/own", pipeline="ci/pipeline.py", dashboards=["main"], secrets=["TOKEN"]),
            Project("me/hidden", lambda _: {}),
        ],
        can_build=any_of(username("ann"), github_org("acme")),
        retention=Retention(days=2.5, keep=3),
    )
    opened, own = projects(config, lambda project: project != "me/hidden")
    assert (opened.read, opened.build) == ("everyone", "ann or members of github:acme")
    assert opened.admin == "administrators of the service only"
    assert opened.retention == "7 days"
    assert own.read == "ann or members of github:acme"
    assert own.retention == "2.5 days; the newest 3 of each stage"
    assert own.pipeline == "ci/pipeline.py in the repository"
    assert (own.dashboards, own.secrets, own.forks) == (("main",), ("TOKEN",), "approve")


def test_results_are_kept_for_ever_unless_something_else_is_said() -> None:
    (row,) = projects(Config(projects=[Project("me/app", lambda _: {})]), _all)
    assert row.retention == "for ever"


def test_secrets_are_named_and_their_values_are_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "hunter2hunter2")
    config = Config(secrets={"TOKEN": Secret.env("A_TOKEN"), "KEY": Secret.file("/none/key")})
    key, token = secrets(config, {"KEY"})
    assert (key.name, key.where, key.is_there) == ("KEY", "/none/key", False)
    assert (token.where, token.is_there) == ("the environment variable A_TOKEN", True)
    assert "hunter2" not in repr((key, token))
