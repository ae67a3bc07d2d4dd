"""Which files a ``.dockerignore`` leaves out."""

from __future__ import annotations

import pytest

from datakit_ci.plugins import docker
from datakit_ci.plugins.dockerignore import ignored
from datakit_ci.target import Target
from datakit_ci.term import source
from datakit_core.errors import ConfigError

TREE = source(Target("me/app", "heads", "main"))


@pytest.mark.parametrize(
    ("text", "path", "left_out"),
    [
        ("", "a", False),
        ("# a\n", "a", False),
        ("a", "a", True),
        ("/a/", "a/b/c", True),
        ("a", "b/a", False),
        ("**/a", "b/c/a", True),
        ("**/a", "a", True),
        ("*.pyc", "x/y.pyc", False),
        ("*/*.pyc", "x/y.pyc", True),
        ("?.c", "a.c", True),
        ("[a-c].c", "d.c", False),
        ("[^a-c].c", "d.c", True),
        ("a\\*", "a*", True),
        ("*\n!b", "b/c", False),
        ("*\n!b\nb/c", "b/c", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_are_those_of_the_builder(text: str, path: str, left_out: bool) -> None:
    assert ignored(text)(path) is left_out


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an image's name"):
        docker.published("--privileged")
    with pytest.raises(ConfigError, match="none of default, none, host"):
        docker.build(TREE, network="container:other")
    with pytest.raises(ConfigError, match="cannot be empty"):
        docker.run(TREE, "")
