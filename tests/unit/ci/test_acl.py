"""Terms that say who has a role, and the rules that a configuration makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from datakit_ci.acl import (
    NOBODY,
    OPEN,
    STRANGER,
    Acl,
    Identity,
    Rights,
    Role,
    Rules,
    all_of,
    any_of,
    can_read_github,
    everyone,
    github_org,
    group,
    logged_in,
    nobody,
    username,
)
from datakit_core.errors import ConfigError

ANN = Identity("ann")
OCTO = Identity(
    "github:octo", frozenset({"github:acme", "github:zed"}), frozenset({"acme/private"})
)
ROOT = Identity("root", is_admin=True)


@pytest.mark.parametrize(
    ("term", "stranger", "ann", "octo"),
    [
        (everyone, True, True, True),
        (nobody, False, False, False),
        (username("ann"), False, True, False),
        (username("octo"), False, False, False),
        (username("github:octo"), False, False, True),
        (username("GitHub:Octo"), False, False, True),
        (logged_in(), False, True, True),
        (logged_in("github"), False, False, True),
        (logged_in(""), False, True, False),
        (github_org("acme"), False, False, True),
        (github_org("Acme"), False, False, True),
        (github_org("other"), False, False, False),
        (group("github:zed"), False, False, True),
        (can_read_github("Acme/Private"), False, False, True),
        (can_read_github("acme/other"), False, False, False),
        (any_of(), False, False, False),
        (any_of(username("ann"), github_org("acme")), False, True, True),
        (username("ann") | github_org("acme"), False, True, True),
        (all_of(logged_in(), github_org("acme")), False, False, True),
        (logged_in() & username("ann"), False, True, False),
    ],
)
def test_a_term_says_who_is_meant(term: Acl, stranger: bool, ann: bool, octo: bool) -> None:
    assert [term.allows(who) for who in (STRANGER, ANN, OCTO)] == [stranger, ann, octo]


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (everyone, "everyone"),
        (nobody, "nobody"),
        (any_of(), "nobody"),
        (username("ann"), "ann"),
        (logged_in(), "whoever has logged in"),
        (logged_in("github"), "whoever has logged in with github"),
        (logged_in(""), "whoever has logged in with an account of this service"),
        (can_read_github("me/app"), "whoever can read me/app on GitHub"),
        (
            all_of(github_org("acme"), any_of(username("ann"), username("bob"))),
            "members of github:acme and at the same time (ann or bob)",
        ),
    ],
)
def test_a_term_can_be_said_in_words(term: Acl, words: str) -> None:
    assert str(term) == words


@pytest.mark.parametrize(
    "make",
    [
        lambda: username(""),
        lambda: username(" ann"),
        lambda: github_org(3),  # type: ignore[arg-type]
        lambda: group("developers"),
        lambda: can_read_github("acme"),
        lambda: can_read_github("acme/a/b"),
        lambda: any_of("ann"),  # type: ignore[arg-type]
        lambda: all_of(True),  # type: ignore[arg-type]
        lambda: all_of(),
    ],
)
def test_what_is_no_term_is_refused(make: Callable[[], Acl]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_each_role_has_those_before_it() -> None:
    rights = Rights(read=nobody, build=username("ann"), admin=username("github:octo"))
    assert rights.role(STRANGER) is Role.NONE
    assert rights.role(ANN) is Role.BUILD
    assert rights.role(OCTO) is Role.ADMIN
    assert NOBODY.role(ROOT) is Role.ADMIN


def test_what_the_configuration_does_not_open_is_closed() -> None:
    rules = Rules(Rights(read=everyone), {"me/open": Rights(read=everyone), "me/shut": NOBODY})
    assert rules.role(STRANGER, "me/open") is Role.READ
    assert rules.role(STRANGER, "me/shut") is Role.NONE
    assert rules.role(STRANGER, "me/gone") is Role.NONE
    assert rules.role(ROOT, "me/gone") is Role.ADMIN
    assert Rules().best_role(ANN) is Role.NONE


def test_the_best_role_is_the_best_of_all_projects() -> None:
    rules = Rules(NOBODY, {"a/a": Rights(build=username("ann")), "b/b": Rights(read=everyone)})
    assert rules.best_role(STRANGER) is Role.READ
    assert rules.best_role(ANN) is Role.BUILD
    assert OPEN.best_role(ANN) is Role.READ


def test_the_repositories_to_ask_github_about_are_known() -> None:
    asked = any_of(can_read_github("a/b"), all_of(can_read_github("C/d"), everyone))
    rules = Rules(NOBODY, {"a/b": Rights(build=asked), "x/y": Rights(read=can_read_github("a/b"))})
    assert rules.repositories() == {"a/b", "c/d"}
