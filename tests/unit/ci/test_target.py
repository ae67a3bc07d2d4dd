"""The names of targets."""

from __future__ import annotations

import pytest

from datakit_ci.target import Target, decode_name, encode_name
from datakit_core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("me/app/heads/main", Target("me/app", "heads", "main")),
        ("me/app/ref/heads/topic/one", Target("me/app", "heads", "topic/one")),
        ("me/app/tags/v1", Target("me/app", "tags", "v1")),
        ("me/app/pr/7", Target("me/app", "pr", "7")),
    ],
)
def test_a_target_has_a_whole_name(text: str, target: Target) -> None:
    assert Target.named(text) == target
    assert Target.named(target.path) == target


@pytest.mark.parametrize("parts", [("me", "app"), ("a-b", "_2d.ä"), ("x", "\udcff/y", "")])
def test_names_of_branches_are_read_back(parts: tuple[str, ...]) -> None:
    assert decode_name(encode_name(*parts)) == parts


@pytest.mark.parametrize("text", ["", "main", "heads/main", "me/app", "me/app/pr", "/app/pr/7"])
def test_what_is_no_targets_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write USER/REPO/heads/NAME"):
        Target.named(text)
