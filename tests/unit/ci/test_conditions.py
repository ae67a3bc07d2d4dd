"""Conditions of stages: what is accepted, and what of it is part of a stage's identity."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datakit_ci import PlainTree, Secret, shell, stage
from datakit_ci.conditions import Conditions, Sandbox
from datakit_ci.options import parse_size
from datakit_ci.project import Config, Project
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target
from datakit_core.errors import ConfigError

STATIC = shell("s", "true").spec.static_digest("me/app")


def static(**options: Any) -> str:
    return shell("s", "true", **options).spec.static_digest("me/app")


def test_a_stage_without_conditions_is_what_it_was() -> None:
    assert Conditions().identity == {}


@pytest.mark.parametrize(
    "options",
    [
        {"sandbox": True},
        {"sandbox": "auto"},
        {"sandbox": True, "network": True},
        {"secrets": ["TOKEN"]},
        {"secrets": {"GH": "TOKEN"}},
        {"facts": ["target"]},
    ],
)
def test_what_can_change_a_result_makes_another_stage(options: dict[str, Any]) -> None:
    assert static(**options) != STATIC


def test_every_kind_of_sandbox_has_results_of_its_own() -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"sandbox": "auto"},
        {"sandbox": True},
        {"sandbox": True, "network": True},
    ]
    assert len({static(**options) for options in kinds}) == len(kinds)


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "2g"},
        {"processes": 10},
        {"locks": ["deploy"]},
        {"priority": 5},
        {"log_limit": "1m"},
        {"output_limit": 5},
        {"sandbox": False},
    ],
)
def test_limits_do_not(options: dict[str, Any]) -> None:
    assert static(**options) == STATIC


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sandbox": "yes"}, 'sandbox is True, False or "auto"'),
        ({"network": True}, "network=True is for a stage with sandbox=True"),
        ({"memory": "lots"}, "memory: 'lots' is not a size"),
        ({"memory": 0}, "is not a size"),
        ({"processes": 0}, "is not a number of processes"),
        ({"priority": "high"}, "'high' is not a whole number"),
        ({"locks": "deploy"}, "locks is a list of names"),
        ({"locks": ["a b"]}, "cannot be the name of a lock"),
        ({"facts": ["job"]}, "there is no fact job; there are commit, target"),
        ({"secrets": "TOKEN"}, "secrets is a list of names"),
        ({"secrets": ["a-b"]}, "'a-b' cannot name a variable"),
        ({"secrets": {"A": ""}}, "cannot be the name of a secret"),
        ({"sandbocks": True}, "there is no option sandbocks"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"^(stage s: )?") as caught:
        shell("s", "true", **options)
    assert message in str(caught.value)


def test_a_function_cannot_be_sandboxed_and_is_told_why() -> None:
    with pytest.raises(ConfigError, match="its process reads the database"):

        @stage(sandbox=True)  # type: ignore[call-overload,untyped-decorator]
        def function(source: PlainTree) -> PlainTree:
            return source


@pytest.mark.parametrize(
    ("text", "size"), [("500k", 500_000), ("2g", 2 * 10**9), ("1.5 MB", 1_500_000), (17, 17)]
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_they_travel_as_json() -> None:
    spec = shell("s", "true", sandbox="auto", secrets=["TOKEN"], locks=["b", "a"], memory="1g").spec
    assert StageSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.conditions.locks == ("a", "b")
    assert spec.conditions.sandbox is Sandbox.AUTO


def test_a_secret_that_is_not_declared_is_refused_with_the_pipeline() -> None:
    lint = shell("lint", "true", secrets=["TOKEN"])
    project = Project("me/app", lambda target: {"lint": lint(target.source)})
    with pytest.raises(ConfigError, match="stage lint wants secret TOKEN, which is not declared"):
        Config(projects=[project]).graph(Target("me/app", "heads", "main"))
    declared = Config(projects=[project], secrets={"TOKEN": Secret.env("T")})
    assert declared.graph(Target("me/app", "heads", "main")).jobs


def test_secrets_say_where_they_are_and_not_what() -> None:
    with pytest.raises(ConfigError, match="secret TOKEN: say where it is"):
        Config(projects=[], secrets={"TOKEN": "hunter22"})  # type: ignore[dict-item]
