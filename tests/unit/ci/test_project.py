"""Pipelines as files: what loads, and how every mistake is told with its place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from datakit_ci import (
    Acl,
    Config,
    Project,
    Target,
    TargetTerms,
    Term,
    Tree,
    everyone,
    nobody,
    return_,
    shell,
    username,
)
from datakit_ci.acl import Identity, Role
from datakit_ci.pipeline import import_pipeline, load_stage, located
from datakit_ci.project import load_pipeline, stages
from datakit_ci.target import FLOWS
from datakit_core.errors import ConfigError

MAIN = Target("me/app", "heads", "main")

GOOD = """
from datakit_ci import Config, Project, shell, stage

lint = shell("lint", "ruff check .")

@stage
async def sizes(source, factor=1):
    return {"factor": str(factor)}

def jobs(target):
    source = target.source
    return {"lint": lint(source), "sizes": sizes(source, factor=2)}

config = Config(projects=[Project("me/app", jobs, dashboards=["main"])], pools={"gpu": 1})
"""

Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def write_and_load(text: str) -> Config:
        (tmp_path / "pipeline.py").write_text(text)
        return load_pipeline(Path("pipeline.py"))

    return write_and_load


def no_jobs(target: TargetTerms) -> dict[str, Term[Any]]:
    return {}


def project_of(jobs: Any) -> Project:
    return Project("me/app", jobs)


def test_a_pipeline_says_what_to_do_with_a_target(load: Load) -> None:
    config = load(GOOD)
    graph = config.graph(MAIN)
    assert list(graph.jobs) == ["lint", "sizes"]
    assert [spec.label for spec in stages(graph)] == ["lint", "sizes(factor=2)"]
    assert config.project("me/app") is config.projects[0]
    assert config.project("me/other") is None
    assert config.capacities(4) == {"cpu": 4, "gpu": 1}
    assert Config([], pools={"cpu": 1}).capacities(4) == {"cpu": 1}


def test_a_stage_of_the_pipeline_is_found_again_to_run_it(load: Load, tmp_path: Path) -> None:
    _, spec = stages(load(GOOD).graph(MAIN))
    assert spec.module == ""
    found = load_stage(tmp_path / "pipeline.py", spec)
    assert found.name == "sizes"
    assert found.function is not None
    (tmp_path / "pipeline.py").write_text("sizes = 3")
    with pytest.raises(ConfigError, match="there is no stage sizes: did the file change"):
        load_stage(tmp_path / "pipeline.py", spec)


def test_a_stage_that_has_changed_since_is_not_run_under_its_old_name(
    load: Load, tmp_path: Path
) -> None:
    _, spec = stages(load(GOOD).graph(MAIN))
    changed = GOOD.replace("str(factor)", "str(factor + 1)")
    (tmp_path / "pipeline.py").write_text(changed)
    with pytest.raises(ConfigError, match="stage sizes has changed since it was asked for"):
        load_stage(tmp_path / "pipeline.py", spec)


async def test_a_stage_of_a_module_beside_the_pipeline_is_found(load: Load, tmp_path: Path) -> None:
    (tmp_path / "beside_steps.py").write_text(
        "from datakit_ci import stage\n@stage\nasync def hello(tree):\n    return {'a': 'b'}\n"
    )
    text = "from beside_steps import hello\n" + GOOD.replace("lint(source)", "hello(source)")
    spec = stages(load(text).graph(MAIN))[0]
    assert spec.module == "beside_steps"
    sys.modules.pop("beside_steps")
    function = load_stage(tmp_path / "pipeline.py", spec).function
    assert function is not None
    assert await function(Tree.from_files({})) == {"a": "b"}
    sys.modules.pop("beside_steps")


def test_a_pipeline_is_read_anew_each_time(load: Load) -> None:
    load(GOOD)
    assert list(load(GOOD.replace('"lint":', '"style":')).graph(MAIN).jobs) == ["style", "sizes"]


def test_a_pipeline_leaves_nothing_beside_it_and_nothing_on_the_path(
    load: Load, tmp_path: Path
) -> None:
    before = list(sys.path)
    load(GOOD)
    assert sys.path == before
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.py"]


def test_a_pipeline_that_fails_leaves_the_module_of_before(load: Load) -> None:
    load(GOOD)
    modules = {name: module for name, module in sys.modules.items() if "pipeline_" in name}
    with pytest.raises(ConfigError):
        load("1 / 0")
    for name, module in modules.items():
        assert sys.modules[name] is module


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def jobs(:\n", "pipeline.py:1: syntax error: invalid syntax"),
        ("\n\n1 / 0\n", "pipeline.py:3: ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name\n", "pipeline.py:1: ModuleNotFoundError: No module named"),
        ("raise SystemExit\n", "pipeline.py:1: SystemExit"),
        ("x = 1\n", "pipeline.py: there is no config; add: config = Config"),
        ("config = 3\n", "pipeline.py: config is 3, not a Config"),
        ("\0", "pipeline.py"),
        (
            "from datakit_ci import shell\n\nlint = shell('li nt', 'x')\n",
            "pipeline.py:3: 'li nt' cannot be the name of a stage",
        ),
        (
            GOOD + 'again = shell("lint", "other")\n',
            "pipeline.py: there are two stages lint; give one another name",
        ),
        (
            GOOD + "THING = object()\n@stage\nasync def s(tree):\n    return THING\n",
            r"pipeline.py:16: the code of this stage has no fingerprint: it uses THING, a object",
        ),
        (
            GOOD.replace("dashboards=", "boards="),
            "pipeline.py:14: TypeError: .* unexpected keyword argument 'boards'",
        ),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_line(load: Load, text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        load(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.py: cannot read the pipeline: No such file"):
        import_pipeline(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return {}['x']", "pipeline.py:6: KeyError: 'x'"),
        ("return jobs(target)", "pipeline.py:6: RecursionError"),
        ("return 3", "pipeline.py: project me/app: jobs returned int; return a dictionary"),
        ("return {'lint': lint}", r"job lint is a stage: call it, as in lint\(target.source\)"),
        ("return {'lint': 3}", "job lint is int, not a term"),
        ("return {'li nt': lint(target.source)}", "'li nt' cannot be the name of a job"),
        ("return {'a/': lint(target.source)}", "'a/' cannot be the name of a job"),
        ("return {'a/.git': lint(target.source)}", "'a/.git' cannot be the name of a job"),
        ("return {'a/output': lint(target.source)}", "output is what a job's own file is called"),
        ("return {'a': lint('src')}", "pipeline.py:6: stage lint needs a term"),
        (
            "return {'a': lint(target.source), 'b': shell('lint', 'y')(target.source)}",
            "project me/app: there are two stages lint",
        ),
        (
            "return {'a': shell('x', 'y', pool='gpu')(target.source)}",
            "stage x wants pool gpu, which is not declared; the pools are cpu",
        ),
    ],
)
def test_mistakes_in_jobs_are_told_when_a_target_comes(load: Load, body: str, error: str) -> None:
    text = (
        "from datakit_ci import *\n\nlint = shell('lint', 'x')\n\n"
        f"def jobs(target):\n    {body}\n\n"
        "config = Config(projects=[Project('me/app', jobs)])\n"
    )
    config = load(text)
    with pytest.raises(ConfigError, match=error):
        config.graph(MAIN)


def test_two_jobs_of_one_name_are_told_with_the_line_of_the_second(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.py:3: 'lint' is there twice: of two jobs"):
        load("def jobs(target):\n    return {'lint': 1,\n        'lint': 2, **{'lint': 3}}\n")


def test_a_target_of_no_project_is_told() -> None:
    with pytest.raises(ConfigError, match="no project me/app"):
        Config([]).graph(MAIN)


def test_jobs_may_be_any_callable() -> None:
    class Jobs:
        def __call__(self, target: TargetTerms) -> Mapping[str, Term[Any]]:
            return {"one": return_(target.target.name)}

    assert list(project_of(Jobs()).graph(MAIN).jobs) == ["one"]


def test_the_same_stage_may_be_used_with_other_parameters_and_inputs() -> None:
    lint = shell("lint", "x")
    graph = project_of(lambda t: {"a": lint(t.source), "b": lint(lint(t.source))}).graph(MAIN)
    assert len(stages(graph)) == 2


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Project("me", no_jobs), "'me' is not a project: write USER/REPO"),
        (lambda: Project("a/b/c", no_jobs), "is not a project"),
        (lambda: Project("me/app", 3), "jobs must be a function"),  # type: ignore[arg-type]
        (lambda: Project("me/app", no_jobs, "main"), "dashboards is a list"),
        (lambda: Config([3]), "holds 3, which is not a Project"),  # type: ignore[list-item]
        (lambda: Config([Project("me/app", no_jobs)] * 2), "there are two projects me/app"),
        (lambda: Config([], pools={"a b": 1}), "cannot be the name of a pool"),
        (lambda: Config([], pools={"cpu": -1}), "pool cpu: -1 is not a number of units"),
        (lambda: Config([], pools={"cpu": True}), "pool cpu: True is not"),
    ],
)
def test_wrong_declarations_are_told(make: Callable[[], object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        make()


def test_an_error_that_has_a_place_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught, located(tmp_path):
        raise ConfigError("wrong", "other.py:7")
    assert str(caught.value) == "other.py:7: wrong"


def test_modules_beside_the_pipeline_are_read_again_with_it(tmp_path: Path) -> None:
    path, beside = tmp_path / "pipeline.py", tmp_path / "beside_it.py"
    path.write_text("import beside_it\nvalue = beside_it.value\n")
    for value in (1, 22):
        beside.write_text(f"value = {value}\n")
        assert import_pipeline(path).value == value
    beside.write_text("value = nothing\n")
    with pytest.raises(ConfigError, match="NameError"):
        import_pipeline(path)
    assert sys.modules["beside_it"].value == 22
    del sys.modules["beside_it"]


def test_a_project_says_who_may_see_it_or_leaves_that_to_the_configuration() -> None:
    config = Config(
        [
            Project("me/open", no_jobs, can_read=everyone),
            Project("me/shut", no_jobs, can_build=nobody),
        ],
        can_read=username("ann"),
        can_build=username("ann"),
    )
    ann, stranger = Identity("ann"), Identity()
    rules = config.rules
    assert rules.role(stranger, "me/open") is Role.READ
    assert rules.role(stranger, "me/shut") is Role.NONE
    assert rules.role(ann, "me/open") is Role.BUILD
    assert rules.role(ann, "me/shut") is Role.READ
    assert rules.role(ann, FLOWS) is Role.BUILD
    assert rules.role(ann, "me/gone") is Role.NONE


def test_by_default_nobody_may_see_anything() -> None:
    rules = Config([Project("me/app", no_jobs)]).rules
    assert rules.best_role(Identity("ann")) is Role.NONE


@pytest.mark.parametrize("who", ["ann", True, ["ann"]])
def test_people_are_named_by_terms(who: Acl) -> None:
    with pytest.raises(ConfigError, match="can_build"):
        Config(can_build=who)
    with pytest.raises(ConfigError, match="project me/app: can_read"):
        Project("me/app", no_jobs, can_read=who)
