"""Images and containers as terms: which stages they are, before any engine is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from datakit_ci import Config, Project, Target, TargetTerms, Term
from datakit_ci.plugins import docker
from datakit_ci.policy import Level
from datakit_ci.project import stages
from datakit_ci.spec import StageSpec
from datakit_core.errors import ConfigError

MAIN = Target("me/app", "heads", "main")
SOURCE = TargetTerms(MAIN).source
TINY = docker.published("tiny:1")


def specs_of(**jobs: Term[Any]) -> Mapping[str, StageSpec]:
    """The stages of a project with these jobs, by their names."""
    config = Config(projects=[Project("me/app", lambda _: jobs)], pools={"docker": 1})
    return {each.name: each for each in stages(config.graph(MAIN))}


def test_every_stage_is_in_the_graph_before_anything_has_run() -> None:
    image = docker.build(SOURCE, from_=TINY)
    found = specs_of(show=docker.run(image, "true"))
    assert set(found) == {"docker-published", "docker-context", "docker-build", "docker-run"}
    assert (found["docker-build"].timeout, found["docker-build"].policy.retry) == (3600, 3)
    assert found["docker-published"].policy.latched


def test_options_are_those_of_the_stage_and_what_is_not_given_stays() -> None:
    usual = specs_of(a=docker.run(docker.build(SOURCE, from_=TINY), "true"))
    image = docker.build(SOURCE, from_=TINY, pool="docker", timeout="2h", locks=["disk"])
    found = specs_of(a=docker.run(image, "true", level="dangerous", retry=0, priority=2))
    build, run = found["docker-build"], found["docker-run"]
    assert (build.timeout, build.pool, build.conditions.locks) == (7200, "docker", ("disk",))
    assert build.policy == usual["docker-build"].policy
    assert (run.policy.level, run.policy.retry, run.timeout) == (Level.DANGEROUS, 0, 3600)
    # None of them is part of what names a result: to change one builds nothing again.
    for name in found:
        assert found[name].static_digest("me/app") == usual[name].static_digest("me/app")


def test_how_often_a_registry_is_asked_is_an_option() -> None:
    found = specs_of(a=docker.run(docker.published("tiny:1", every="1d"), "true"))
    assert found["docker-published"].policy.every == "1d"
    assert found["docker-published"].policy.latched


def test_one_stage_has_one_set_of_options_and_another_name_makes_another_stage() -> None:
    first = docker.run(TINY, "true")
    with pytest.raises(ConfigError, match="two stages docker-run; give one another name"):
        specs_of(a=first, b=docker.run(TINY, "true", timeout="5h"))
    found = specs_of(a=first, b=docker.run(TINY, "true", timeout="5h", stage="slow"))
    assert replace(found["slow"], name="docker-run", timeout=3600.0) == found["docker-run"]


def test_a_build_s_name_says_what_is_not_usual() -> None:
    image = docker.build(SOURCE, dockerfile="ci/Dockerfile", from_=TINY, args={"A": "1"})
    found = specs_of(a=docker.run(image, "make check", memory="1g"))
    build = 'docker-build(args={"A": "1"}, dockerfile="ci/Dockerfile")'
    assert found["docker-build"].label == build
    assert found["docker-run"].arguments == {
        "command": "make check",
        "limits": ["--memory=1000000000", "--cpus=1", "--pids-limit=512"],
    }
    usual = specs_of(a=docker.run(TINY, "make"))["docker-run"]
    assert usual.label == 'docker-run(command="make")'


def test_a_container_is_told_secrets_and_facts_by_their_variables() -> None:
    term = docker.run(TINY, "true", secrets={"GH": "TOKEN"}, facts=["target"])
    graph = Project("me/app", lambda _: {"a": term}).graph(MAIN)
    (run,) = (each for each in stages(graph) if each.name == "docker-run")
    assert run.arguments["told"] == ["DATAKIT_TARGET", "GH"]
    assert run.conditions.secrets == (("GH", "TOKEN"),)


def image(**options: Any) -> Term[Any]:
    return docker.build(SOURCE, **options)


def container(**options: Any) -> Term[Any]:
    return docker.run(TINY, "true", **options)


def found(**options: Any) -> Term[Any]:
    return docker.published("tiny:1", **options)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (container, {"sandbox": True}, "docker.run: there is no option sandbox"),
        (container, {"processes": 3}, "docker.run: there is no option processes"),
        (image, {"secrets": ["A"]}, "docker.build: there is no option secrets"),
        (found, {"facts": ["target"]}, "no option facts; there are auto_cancel"),
        (image, {"timeout": "soon"}, "stage docker-build: timeout: 'soon'"),
        (container, {"level": "odd"}, "stage docker-run: level: 'odd' is none of"),
        (container, {"stage": "a b"}, "'a b' cannot be the name of a stage"),
        (container, {"retry": -1}, "stage docker-run: retry"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    make: Callable[..., Term[Any]], options: Mapping[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        make(**options)


def test_a_pool_that_nobody_has_declared_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="stage docker-build wants pool huge"):
        specs_of(a=docker.build(SOURCE, pool="huge"))
