"""Policies: what authors may write, and that they are no part of the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datakit_ci import Config, Tree, shell, stage
from datakit_ci.policy import Level, Policy, backoff
from datakit_ci.spec import StageSpec
from datakit_core.errors import ConfigError

OPTIONS: dict[str, Any] = {
    "every": "0 3 * * * Europe/Berlin",
    "valid_for": "1d",
    "latched": True,
    "auto_cancel": False,
    "retry": 3,
    "level": "dangerous",
}


@stage(version="1", **OPTIONS)
async def report(source: Tree) -> Tree:
    return source


def test_all_options_are_in_the_policy_of_commands_and_functions() -> None:
    policy = Policy(
        every="0 3 * * * Europe/Berlin",
        valid_for=86400.0,
        latched=True,
        auto_cancel=False,
        retry=3,
        level=Level.DANGEROUS,
    )
    assert report.spec.policy == policy
    command = shell("a", "b", transient=[75, 1, 75], **OPTIONS).spec
    assert command.policy.transient == (1, 75)


def test_no_option_is_part_of_the_key() -> None:
    plain, other = shell("a", "b").spec, shell("a", "b", transient=[75], **OPTIONS).spec
    assert plain.static_digest("me/app") == other.static_digest("me/app")


def test_a_policy_survives_the_way_to_another_process() -> None:
    spec = shell("a", "b", transient=[75], **OPTIONS).spec
    assert StageSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": "soon"}, "every: 'soon' is not a schedule"),
        ({"valid_for": "soon"}, "valid_for: 'soon' is not a time"),
        ({"latched": 1}, "latched is True or False"),
        ({"auto_cancel": "no"}, "auto_cancel is True or False"),
        ({"retry": -1}, "retry: give a number of times"),
        ({"retry": True}, "retry: give a number of times"),
        ({"transient": 75}, "transient is a list"),
        ({"transient": [0]}, "transient: give exit statuses"),
        ({"transient": [256]}, "transient: give exit statuses"),
        ({"level": "wild"}, "level: 'wild' is none of harmless, mostly_harmless, dangerous"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=f"stage a: {text}"):
        shell("a", "b", **options)


def test_the_configuration_names_the_level_to_confirm() -> None:
    assert Config(projects=[]).threshold is Level.DANGEROUS
    assert Config(projects=[], confirm="harmless").threshold is Level.HARMLESS
    assert Config(projects=[], confirm=None).threshold is None
    with pytest.raises(ConfigError, match="confirm: 'all' is none of"):
        Config(projects=[], confirm="all")


def test_pauses_grow_and_stay_within_bounds() -> None:
    assert [backoff(attempt) for attempt in (1, 2, 3)] == [2.0, 4.0, 8.0]
    assert backoff(100) == 300.0
