"""The command line: what ``check`` says, and how mistakes end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datakit_ci.cli import main
from datakit_core import __version__
from tests.support.story import golden

PIPELINE = '''
from datakit_ci import Config, Project, Tree, gate, join, shell, stage, without_logs

lint = shell("lint", "ruff check .", timeout="5m", inputs=["src"])
unit = shell("unit", "pytest -q\\ncoverage report", outputs=["report.xml"], reports=["report.xml"],
             env={"A": "1"}, pool="big", timeout=95)
wheel = shell("wheel", "python -m build " + "x " * 100, outputs=["dist"])
smoke = shell("smoke", "pip install dist/*", inputs=[], timeout="2h")

@stage
async def sizes(source: Tree, factor: int = 1) -> Tree:
    """Count the lines of every Python file."""
    return source

def jobs(target):
    source = target.source
    built = wheel(gate(source, lint(source), gate(unit(source), lint(source))))
    jobs = {"lint": lint(source), "unit": unit(source), "style": lint(source)}
    if target.target.name == "main":
        jobs["wheel"] = without_logs(built)
        jobs["smoke"] = smoke(join({"": source, "dist": built}))
        jobs["sizes"] = sizes(source, factor=2)
        jobs["later"] = target.head.bind(lambda _: built, "choose")
    return jobs

config = Config(projects=[Project("me/app", jobs, dashboards=["main"])], pools={"big": 1})
'''

COMMANDS = ("check", "run", "serve", "results", "results list", "results compare")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "broken.py").write_text("\n1 / 0\n")

    def run_main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["datakit-ci", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_main


def test_check_draws_the_graph(run: Run) -> None:
    status, out, err = run("check", "pipeline.py")
    assert (status, err) == (0, "")
    golden("check", out)


def test_check_draws_the_target_that_is_asked_for(run: Run) -> None:
    status, out, _ = run("check", "pipeline.py", "--target", "pr/7")
    assert status == 0
    assert "me/app, jobs of pr/7" in out
    assert "smoke" not in out
    assert "tags" not in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["check", "broken.py"], "broken.py:2: ZeroDivisionError: division by zero"),
        (["check", "none.py"], "none.py: cannot read the pipeline: No such file or directory"),
        (["check", "pipeline.py", "--target", "main"], "'main' is not a target; write heads/NAME"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    run: Run, arguments: list[str], error: str
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("datakit-ci: ")
    assert error in err
    assert err.count("\n") == 1


def test_the_version_is_told(run: Run) -> None:
    assert run("--version") == (0, f"datakit-ci {__version__}\n", "")


def test_a_missing_argument_is_exit_status_2(run: Run) -> None:
    status, _, err = run("check")
    assert status == 2
    assert "PIPELINE" in err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert "[/PATH]" in out or command != "serve"
