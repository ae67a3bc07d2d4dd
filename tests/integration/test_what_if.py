"""``datakit-ci what-if``: which jobs another pipeline changes, beside whoever has the database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.metadata import BRANCH
from datakit_ci.project import load_pipeline
from datakit_core.client.api import Database
from datakit_core.client.local import open_local
from tests.support.git import git

PIPELINE = """
from datakit_ci import Config, Project, branch, flow, publish, shell

lint = shell("lint", "cat word; grep -q good word", inputs=["word"])
copy = shell("copy", "cp word out", inputs=["word"], outputs=["out"])
after = shell("after", "cat out")

def jobs(target):
    return {"lint": lint(target.source), "after": after(copy(target.source))}

config = Config(projects=[Project("me/app", jobs)])
"""


class Scene:
    """A database with two targets on which the pipeline has run; ``bad`` fails its lint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "db.git"
        self.pipeline = root / "pipeline.py"

    async def fill(self) -> None:
        self.pipeline.write_text(PIPELINE)
        source = self.root / "source"
        source.mkdir()
        git(source, "init", "--quiet", "--initial-branch=main")
        for name in ("good", "bad"):
            (source / "word").write_text(f"{name}\n")
            git(source, "add", "--all")
            git(source, "commit", "--quiet", "--message", name)
            git(source, "branch", name)
        async with open_local(self.database, create=True) as database:
            for name in ("good", "bad"):
                head = await database.fetch(str(source), f"refs/heads/{name}")
                async with database.transaction(BRANCH) as edit:
                    await edit.write(f"me/app/ref/heads/{name}/head", f"{head}\n".encode())
                    await edit.commit(name)
            await self._run(database)

    async def _run(self, database: Database) -> None:
        config, work = load_pipeline(self.pipeline), self.root / "work"
        async with (
            LocalExecutor(database, self.database, self.pipeline, work / "builds") as executor,
            Engine(database, config, executor, work / "logs") as engine,
            asyncio.TaskGroup() as group,
        ):
            running = group.create_task(engine.run())
            await engine.idle()
            running.cancel()

    def ask(self, old: str, new: str, *options: str) -> subprocess.CompletedProcess[str]:
        """What if the pipeline had ``new`` for ``old``?"""
        other = self.root / "other.py"
        other.write_text(PIPELINE.replace(old, new))
        command = [sys.executable, "-m", "datakit_ci", "what-if", str(other)]
        return subprocess.run(
            [*command, "--git", str(self.database), *options],
            cwd=self.root, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def refs(self) -> str:
        return git(self.database, "for-each-ref")


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    await scene.fill()
    return scene


async def test_it_lists_the_jobs_that_change_and_writes_nothing(scene: Scene) -> None:
    async with open_local(scene.database):  # somebody serves it
        refs = scene.refs()
        done = await asyncio.to_thread(scene.ask, "grep -q good", "grep -q bad")
        assert scene.refs() == refs
    assert done.stderr == ""
    assert done.returncode == 1
    first, *others = done.stdout.splitlines()
    assert first.startswith("me/app/heads/bad  lint: failure -> success  passed")
    assert others == [
        "me/app/heads/good  lint: success -> failure  exited with status 1",
        "    $ cat word; grep -q bad word",
        "    good",
        "2 of 4 jobs of 2 targets change; 2 builds were run",
    ]


def test_a_pipeline_that_says_the_same_changes_and_runs_nothing(scene: Scene) -> None:
    done = scene.ask("", "")
    assert (done.returncode, done.stdout) == (
        0,
        "0 of 4 jobs of 2 targets change; 0 builds were run\n",
    )


def test_an_output_that_stays_the_same_stops_what_follows(scene: Scene) -> None:
    done = scene.ask("cp word out", "cat word > out")
    assert done.stdout == "0 of 4 jobs of 2 targets change; 2 builds were run\n"


def test_jobs_come_and_go_and_programs_can_read_it(scene: Scene) -> None:
    done = scene.ask('{"lint": lint', '{"style": lint', "--json", "--target", "me/app/heads/bad")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["target"], each["job"]) for each in told] == [
        ("me/app/heads/bad", "style"),
        ("me/app/heads/bad", "lint"),
    ]
    assert told[0]["before"] is None
    assert told[0]["after"]["status"] == "failure"
    assert told[0]["log"].endswith("bad")
    assert told[1]["after"] is None


def test_a_dry_run_says_what_would_have_to_run(scene: Scene) -> None:
    done = scene.ask("cp word out", "cat word > out", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        line
        for name in ("bad", "good")
        for line in (
            f"me/app/heads/{name}",
            "  would run:",
            "    copy  its code, command or parameters have changed",
            "  not known before these have run:",
            "    after",
        )
    ]
    gone = scene.ask('"lint": lint(target.source), ', "", "--dry-run", "--json")
    assert gone.returncode == 1
    told = [json.loads(line) for line in gone.stdout.splitlines()]
    assert [each["changes"][0]["job"] for each in told] == ["lint", "lint"]
    assert [each["run"] for each in told] == [[], []]


def test_nothing_dangerous_is_run_and_no_flow(scene: Scene) -> None:
    marked = scene.root / "shipped"
    done = scene.ask(
        '"after": after(copy(target.source))}\n\nconfig = Config(',
        f'"ship": shell("ship", "touch {marked}", level="dangerous")(target.source)}}\n\n'
        f'config = Config(confirm=None, flows=[flow(branch("{BRANCH}")) | '
        f'shell("mark", "touch {marked}", outputs=[]) | publish("made")], ',
    )
    assert "ship: none -> waiting  waits for confirmation by a person" in done.stdout
    assert not marked.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "me/app/heads/none"), "there is no target me/app/ref/heads/none"),
        (("--target", "nonsense"), "nonsense"),
        (("--git", "/nonexistent"), "/nonexistent does not exist"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    scene: Scene, options: tuple[str, ...], message: str
) -> None:
    done = scene.ask("", "", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_database_without_targets_is_bad_input(scene: Scene) -> None:
    git(scene.database, "update-ref", "-d", f"refs/heads/{BRANCH}")
    done = scene.ask("", "")
    assert done.returncode == 2
    assert "no targets are recorded" in done.stderr


IN_TREE = """
from datakit_ci import Config, Project

config = Config(projects=[Project("me/app", pipeline="ci/pipeline.py")])
"""

PULL = "me/app/pr/7"


async def test_pipelines_of_repositories_judge_their_targets_here_too(scene: Scene) -> None:
    jobs = PIPELINE.partition("config =")[0]
    head = ""
    async with open_local(scene.database) as database:
        for name, text in (("good", jobs), ("bad", "def jobs(target):\n    return nothing\n")):
            path = f"{name}-source"
            async with database.transaction(path) as edit:
                await edit.write("ci/pipeline.py", text.encode())
                await edit.write("word", b"good word\n")
                head = await edit.commit(name)
            async with database.transaction(BRANCH) as edit:
                await edit.write(f"me/app/ref/heads/{name}/head", f"{head}\n".encode())
                await edit.commit(name)
        async with database.transaction(BRANCH) as edit:
            for field, said in {"head": head, "owner": "you", "base": "good"}.items():
                await edit.write(f"{PULL}/{field}", f"{said}\n".encode())
            await edit.commit("a fork's")
    before = scene.refs()
    dry = scene.ask(PIPELINE, IN_TREE, "--dry-run")
    assert "name 'nothing' is not defined" in dry.stdout, dry.stdout + dry.stderr
    assert "waits for approval by a person" not in dry.stdout  # that is no outcome
    good = next(part for part in dry.stdout.split("me/app/") if part.startswith("heads/good"))
    assert "would run:" in good, dry.stdout
    assert "copy  word has changed" in good, dry.stdout
    done = scene.ask(PIPELINE, IN_TREE)
    assert "me/app/heads/bad  pipeline: none -> failure" in done.stdout, done.stdout + done.stderr
    assert "me/app/heads/good  lint: none -> success" in done.stdout
    assert "me/app/pr/7  lint: none -> waiting  waits for approval by a person" in done.stdout
    assert scene.refs() == before

    approved = f"approved/me-app/7/{head}"
    ruling = '{"replaces":null,"time":"2026-03-04T12:00:00Z","user":"jo","version":1}\n'
    async with open_local(scene.database) as database, database.transaction("control") as edit:
        await edit.write(approved, ruling.encode())
        await edit.commit("approve")
    done = scene.ask(PIPELINE, IN_TREE)
    assert "me/app/pr/7  lint: none -> success" in done.stdout, done.stdout + done.stderr
