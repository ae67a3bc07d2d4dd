"""Stages: what an author may write, and the specifications that come of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from datakit_ci import PlainTree, Stage, StageFailed, Target, TargetTerms, Term, Tree, shell, stage
from datakit_ci.durations import parse_duration
from datakit_ci.operation import RunStage
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.stage import fingerprint_stages
from datakit_core.errors import ConfigError

SOURCE = TargetTerms(Target("me/app", "heads", "main")).source


@stage
async def count(source: Tree, depth: int = 1, *, words: list[str] | None = None) -> Tree:
    """Count something."""
    return Tree.from_files({"depth": f"{depth} {words} {len(await source.list())}"})


@stage(timeout="5m", name="plain/count", inputs=["src/", "./docs"], pool="gpu", env={"A": "1"})
def plain_count(source: PlainTree) -> Mapping[str, str]:
    if not source.exists("src"):
        raise StageFailed("there is nothing to count")
    return {"n": str(len(source.list("src")))}


@stage(version="1")
async def versioned(source: Tree) -> Tree:
    return source


def spec_of(term: Term[Tree]) -> StageSpec:
    assert isinstance(term.operation, RunStage)
    return term.operation.spec


def test_a_command_becomes_a_specification() -> None:
    unit = shell(
        "unit",
        "pytest -q",
        inputs=["tests", "./src/", "src"],
        outputs=["dist"],
        reports=["report.xml"],
        env={"B": "2", "A": "1"},
        timeout="90s",
        pool="big",
    )
    spec = spec_of(unit(SOURCE))
    assert spec == StageSpec(
        name="unit",
        kind=StageKind.SHELL,
        command="pytest -q",
        fingerprint=spec.fingerprint,
        inputs=("src", "tests"),
        outputs=("dist",),
        reports=("report.xml",),
        env=(("A", "1"), ("B", "2")),
        timeout=90.0,
        pool="big",
    )
    assert spec.label == "unit"


def test_the_key_of_results_never_changes_by_itself() -> None:
    spec = shell("lint", "ruff check .").spec
    assert (
        spec.static_digest("me/app")
        == "7966e1f2e22c7321550f53c75277d8b821037eb2b0fcdcb50abbc9a1154a197e"
    )


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (shell("lint", "ruff check .", timeout="1h", pool="big"), True),
        (shell("lint", "ruff check src"), False),
        (shell("lint", "ruff check .", env={"A": "1"}), False),
        (shell("lint", "ruff check .", inputs=["src"]), False),
        (shell("lint", "ruff check .", outputs=["x"]), False),
        (shell("lint", "ruff check .", reports=["x"]), False),
        (shell("lint", "ruff check .", version="2"), False),
        (shell("lint2", "ruff check ."), False),
    ],
)
def test_only_what_can_change_a_result_changes_its_key(other: Stage[[]], *, same: bool) -> None:
    key = shell("lint", "ruff check .").spec.static_digest("me/app")
    assert (other.spec.static_digest("me/app") == key) is same
    assert shell("lint", "ruff check .").spec.static_digest("me/other") != key


def test_a_function_becomes_a_specification() -> None:
    spec = spec_of(count(SOURCE, depth=3))
    assert (spec.name, spec.kind, spec.command) == ("count", StageKind.PYTHON, "count")
    assert spec.module == __name__
    assert spec.arguments == {"depth": 3}
    assert spec.label == "count(depth=3)"
    assert spec_of(count(SOURCE)).parameters == "{}"
    assert spec_of(count(SOURCE, 3, words=["a"])).arguments == {"depth": 3, "words": ["a"]}


def test_parameters_are_part_of_the_key() -> None:
    one, two = spec_of(count(SOURCE, depth=1)), spec_of(count(SOURCE, depth=2))
    assert one.static_digest("me/app") != two.static_digest("me/app")
    assert one.fingerprint == two.fingerprint


def test_options_of_a_function() -> None:
    spec = plain_count.spec
    assert spec.name == "plain/count"
    assert spec.inputs == ("docs", "src")
    assert (spec.timeout, spec.pool, spec.env) == (300.0, "gpu", (("A", "1"),))
    assert repr(plain_count) == "<Stage plain/count>"


def test_specifications_travel_as_json() -> None:
    for made in (spec_of(count(SOURCE, depth=3)), plain_count.spec):
        assert StageSpec.from_json(json.loads(json.dumps(made.to_json()))) == made
        hash(made)


def test_a_specification_with_other_fields_is_refused() -> None:
    value = plain_count.spec.to_json()
    value["pools"] = value.pop("pool")
    with pytest.raises(ConfigError, match="missing or unknown fields: pool, pools"):
        StageSpec.from_json(value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"depth": {1, 2}}, "parameter depth cannot be part of a key"),
        ({"depth": float("nan")}, "parameter depth"),
        ({"words": ("a",)}, "parameter words"),
        ({"words": [{1: "a"}]}, "parameter words"),
        ({"other": 1}, "unexpected keyword argument 'other'"),
    ],
)
def test_parameters_that_cannot_be_a_key_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=f"stage count: .*{text}"):
        count(SOURCE, **arguments)


def test_parameters_that_json_can_say_are_kept() -> None:
    given: dict[str, Any] = {"a": [1, 2.5, None, True], "b": {"c": "d"}}
    assert spec_of(count(SOURCE, given)).arguments == {"depth": given}  # type: ignore[arg-type]


def test_a_stage_is_called_on_a_term() -> None:
    with pytest.raises(ConfigError, match="stage versioned needs a term"):
        versioned("src")  # type: ignore[arg-type]


def test_the_parameters_of_a_command_are_its_variables_and_part_of_its_key() -> None:
    unit = shell("unit", "pytest", env={"A": "1", "B": "2"})
    plain, other = spec_of(unit(SOURCE)), spec_of(unit(SOURCE, B="3", DEPTH=4))
    assert other.env == (("A", "1"), ("B", "3"), ("DEPTH", "4"))
    assert other.label == 'unit(B="3", DEPTH="4")'
    assert plain.static_digest("me/app") != other.static_digest("me/app")
    assert plain.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"A": True}, "give texts or numbers"), ({"A": "\0"}, "'A' is no"), ({"Ä": "a"}, "'Ä' is no")],
)
def test_what_cannot_be_a_variable_is_no_parameter_of_a_command(
    arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=f"stage unit: parameter .*{text}"):
        shell("unit", "pytest")(SOURCE, **arguments)


def test_the_parameters_of_a_command_are_given_by_name() -> None:
    with pytest.raises(ConfigError, match="give its variables by name"):
        shell("a", "b")(SOURCE, 1)


def test_equal_calls_are_one_specification() -> None:
    assert versioned.spec is versioned.spec
    assert spec_of(count(SOURCE, depth=1)) == spec_of(count(SOURCE, 1))


@pytest.mark.parametrize("name", ["", "a b", "-a", "/a", "a..b", "a//b", "ä", 3])
def test_names_have_to_fit_into_addresses(name: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a stage"):
        shell(name, "true")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": "soon"}, "stage a: timeout: 'soon' is not a time"),
        ({"inputs": "src"}, "stage a: inputs is a list of paths"),
        ({"inputs": [""]}, "not the whole tree"),
        ({"inputs": ["."]}, "stage a: inputs: '.' cannot be a path"),
        ({"outputs": ["../x"]}, "stage a: outputs: '../x' cannot be a path"),
        ({"reports": [3]}, "stage a: reports"),
        ({"env": {"A-B": "1"}}, "stage a: env 'A-B'"),
        ({"env": {"A": 1}}, "stage a: env 'A'"),
        ({"pool": "my pool"}, "name of a pool"),
    ],
)
def test_wrong_options_are_named(options: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        shell("a", "true", **options)


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(ConfigError, match="stage a: the command is empty"):
        shell("a", "  ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(1, 1.0), (2.5, 2.5), ("90", 90.0), ("90s", 90.0), ("1.5 m", 90.0), ("1h", 3600.0)],
)
def test_times_are_seconds_or_text(text: float | str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", [0, -1, "0s", "5 days", True, float("inf"), float("nan"), None])
def test_other_times_are_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        parse_duration(text)


def test_functions_that_cannot_be_stages_are_refused() -> None:
    async def generator(source: Tree) -> Any:
        yield source

    def no_tree() -> None: ...
    def keyword_tree(*, source: Tree) -> None: ...
    def star(source: Tree, *rest: int) -> None: ...
    def stars(source: Tree, **rest: int) -> None: ...
    def positional(source: Tree, depth: int, /) -> None: ...

    make: Any = stage
    for function, text in (
        (generator, "must return, not yield"),
        (no_tree, "first parameter is the input tree"),
        (keyword_tree, "first parameter is the input tree"),
        (star, "cannot be given by name"),
        (stars, "cannot be given by name"),
        (positional, "cannot be given by name"),
        (len, "@stage needs a function"),
    ):
        with pytest.raises(ConfigError, match=text):
            make(function)


def test_stages_are_fingerprinted_ahead_and_one_that_cannot_be_says_so_where_it_is_used() -> None:
    def inner(source: PlainTree) -> Mapping[str, str]:
        return {}

    nested, fit = stage(inner), stage(top_level)
    fingerprint_stages()
    assert "spec" in vars(fit)
    with pytest.raises(ConfigError, match="not defined at the top of a module"):
        nested.spec  # noqa: B018 - it raises


def top_level(source: PlainTree) -> Mapping[str, str]:
    return {}


def test_the_same_work_under_other_conditions_keeps_what_is_not_given() -> None:
    base = shell("unit", "pytest", timeout="5m", pool="gpu", memory="1g", retry=2, locks=["db"])
    other = base.under(name="soak", timeout="1h", retry=0, memory="2g")
    first, second = spec_of(base(SOURCE)), spec_of(other(SOURCE))
    assert (second.name, second.timeout, second.pool) == ("soak", 3600.0, "gpu")
    assert (second.policy.retry, second.conditions.memory) == (0, 2_000_000_000)
    assert second.conditions.locks == ("db",)
    assert (second.command, second.fingerprint) == (first.command, first.fingerprint)
    assert spec_of(base.under()(SOURCE)) == first


def test_a_function_under_other_conditions_is_the_same_function() -> None:
    term = count.under(pool="gpu", level="dangerous")(SOURCE, depth=2)
    assert replace(spec_of(term), pool="cpu", policy=count.spec.policy) == spec_of(
        count(SOURCE, depth=2)
    )
    with pytest.raises(ConfigError, match="a function cannot be sandboxed"):
        count.under(sandbox=True)


def test_wrong_conditions_are_named_where_they_are_written() -> None:
    with pytest.raises(ConfigError, match="stage later: timeout: 'never'"):
        shell("unit", "pytest").under(name="later", timeout="never")
    with pytest.raises(ConfigError, match="there is no option colour"):
        shell("unit", "pytest").under(colour="red")  # type: ignore[call-arg]
