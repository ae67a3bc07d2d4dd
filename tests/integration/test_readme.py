"""The README, followed word for word as far as a test can."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.git import git

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_pipeline_works_when_pasted(tmp_path: Path) -> None:
    [pipeline] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "pipeline.py").write_text(pipeline)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "pipeline.py")
    git(tmp_path, "commit", "-q", "-m", "Add a pipeline")

    command = [sys.executable, "-m", "datakit_ci"]
    for arguments in (["check", "pipeline.py"], ["run", "pipeline.py", "--once"]):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    [branch] = re.findall(r"`git log (results/[^`]*)`", TEXT)
    database = tmp_path / ".datakit/database.git"
    assert "modules: passed" in git(database, "log", "--format=%s", branch)
    names = git(database, "ls-tree", "-r", "--name-only", branch).splitlines()
    [modules] = [name for name in names if name.endswith("value/modules.txt")]
    assert git(database, "show", f"{branch}:{modules}") == "./pipeline.py"


def test_every_link_and_place_that_it_names_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert links
    table = TEXT[TEXT.index("| where |") : TEXT.index("Start with")]
    places = re.findall(r"`([a-z_]+(?:/[a-z_.]*)+)`", table)
    assert places
    for name in [*links, *places]:
        assert (ROOT / name).exists(), name


def test_its_make_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\w+)", TEXT, re.MULTILINE)
    assert {"run", "test"} <= set(commands)
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
