"""``datakit-ci run``: exit statuses, what is shown, warm runs, bad input, and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from datakit_core.client.local import open_local
from tests.support.git import git
from tests.support.processes import gone

PIPELINE = """
from datakit_ci import Config, Project, shell

lint = shell("lint", "test -e src/good || { echo no good; exit 7; }", inputs=["src"])
word = shell("word", "echo a word; echo 1 > out", outputs=["out"])
after = shell("after", "cat out")
slow = shell("slow", "echo $PPID $$; exec sleep 1000")

def jobs(target):
    match target.target.name:
        case "broken":
            raise ValueError("no idea")
        case "slow":
            return {"slow": slow(target.source)}
        case _:
            return {"lint": lint(target.source), "after": after(word(target.source))}

config = Config(projects=[Project("me/app", jobs)])
"""


class Scratch:
    """A repository with a pipeline, and the command on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.org")
        (root / "pipeline.py").write_text(PIPELINE)
        self.commit("src/good")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, path: str, *, remove: bool = False) -> None:
        file = self.root / path
        file.parent.mkdir(exist_ok=True)
        if remove:
            file.unlink()
        else:
            file.write_text("content")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Change {path}")

    def refs(self) -> str:
        """What is in the database."""
        return git(self.root / ".datakit/database.git", "for-each-ref")

    def run(self, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(options), cwd=cwd or self.root, capture_output=True, text=True, check=False
        )

    def command(self, options: Sequence[str]) -> list[str]:
        pipeline = str(self.root / "pipeline.py")
        return [sys.executable, "-m", "datakit_ci", "run", pipeline, "--once", *options]


def summary(output: str) -> dict[str, list[str]]:
    """The words of each job's line in the summary."""
    rows = [line.split() for line in output.splitlines()]
    start = next(index for index, row in enumerate(rows) if row[:2] == ["job", "state"])
    return {row[1]: row[2:] for row in rows[start + 1 :] if row}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    root = tmp_path / "repository"
    root.mkdir()
    return Scratch(root)


def test_all_jobs_pass_and_the_next_run_is_warm(scratch: Scratch) -> None:
    first = scratch.run()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("heads/main at ")
    assert "✓ lint: passed in" in first.stdout
    assert summary(first.stdout)["lint"][0] == "success"
    assert "cached" not in first.stdout
    second = scratch.run(cwd=scratch.root / "src")
    assert second.returncode == 0
    assert {name: row[-1] for name, row in summary(second.stdout).items()} == {
        "lint": "cached",
        "after": "cached",
    }


def test_a_change_runs_only_what_looks_at_it(scratch: Scratch) -> None:
    scratch.run()
    scratch.commit("docs")
    rows = summary(scratch.run().stdout)
    assert rows["lint"][-1] == "cached"
    assert rows["after"][-1] == "cached"  # "word" ran, and made the same
    assert "cached" in rows["after"]


def test_a_failure_shows_its_log_and_blocks(scratch: Scratch) -> None:
    scratch.commit("src/good", remove=True)
    done = scratch.run()
    assert done.returncode == 1
    assert "lint: exited with status 7" in done.stdout
    assert "\nno good\n" in done.stdout
    assert summary(done.stdout)["lint"][0] == "failure"
    again = scratch.run()
    assert again.returncode == 1
    assert "\nno good\n" in again.stdout
    assert "cached" in summary(again.stdout)["lint"]


def test_another_target_is_chosen_by_name(scratch: Scratch) -> None:
    scratch.git("branch", "topic/one")
    scratch.commit("src/good", remove=True)
    assert scratch.run().returncode == 1
    assert scratch.run("--target", "heads/topic/one").returncode == 0
    scratch.git("tag", "v1", "topic/one")
    assert scratch.run("--target", "tags/v1").returncode == 0


def test_a_detached_head_is_tested_too(scratch: Scratch) -> None:
    scratch.git("checkout", "--quiet", "--detach")
    assert scratch.run().returncode == 0


def test_verbose_shows_what_stages_print(scratch: Scratch) -> None:
    assert "\nword | a word\n" in scratch.run("--verbose").stdout


def test_the_state_is_ignored_by_git(scratch: Scratch) -> None:
    scratch.run()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=scratch.root, capture_output=True, check=True
    )
    assert status.stdout == b""


async def test_a_database_that_is_in_use_is_left_alone(scratch: Scratch) -> None:
    (scratch.root / ".datakit").mkdir()
    async with open_local(scratch.root / ".datakit/database.git", create=True) as database:
        done = scratch.run()
        assert await database.branches() == {}
    assert done.returncode == 0
    assert "using a temporary database" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "heads/nowhere"), "there is no heads/nowhere"),
        (("--target", "pr/1"), "a checkout has branches and tags"),
        (("--target", "nonsense"), "is not a target"),
        (("--target", "heads/broken"), "ValueError: no idea"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    scratch: Scratch, options: Sequence[str], message: str
) -> None:
    scratch.git("branch", "broken")
    check_refused(scratch.run(*options), message)


def test_a_directory_outside_of_any_repository_is_bad_input(
    scratch: Scratch, tmp_path: Path
) -> None:
    check_refused(scratch.run(cwd=tmp_path), "is not in a Git repository")


def test_a_broken_pipeline_is_bad_input(scratch: Scratch) -> None:
    (scratch.root / "pipeline.py").write_text("config = 1 +")
    check_refused(scratch.run(), "pipeline.py:1: syntax error")


def test_of_a_repository_without_a_commit_only_the_working_tree_can_be_tested(
    scratch: Scratch, tmp_path: Path
) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    subprocess.run(["git", "init", "--quiet", "-b", "trunk"], cwd=fresh, check=True)
    check_refused(scratch.run("--committed", cwd=fresh), "has no commit yet")
    (fresh / "src").mkdir()
    (fresh / "src/good").touch()
    first, second = scratch.run(cwd=fresh), scratch.run(cwd=fresh)
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("heads/trunk, of which nothing is committed yet\n")
    assert "cached" in summary(second.stdout)["lint"]


def test_what_is_tested_are_the_files_as_they_are_now(scratch: Scratch) -> None:
    assert scratch.run().returncode == 0
    (scratch.root / "src/good").rename(scratch.root / "src/bad")
    changed = scratch.run()
    assert changed.returncode == 1
    assert "Change src/good, with changes that are not committed\n" in changed.stdout
    assert "cached" in summary(scratch.run().stdout)["lint"]
    assert scratch.run("--committed").returncode == 0
    assert scratch.run("--target", "heads/main").returncode == 0
    (scratch.root / "src/bad").rename(scratch.root / "src/good")
    back = scratch.run()
    assert "not committed" not in back.stdout
    assert summary(back.stdout)["lint"][-1] == "cached"


def test_where_nothing_has_changed_no_process_is_started_but_git(scratch: Scratch) -> None:
    scratch.run()
    database = scratch.root / ".datakit/database.git"
    before = {path: path.stat().st_mtime_ns for path in database.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *scratch.command([])[1:]],
        cwd=scratch.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    slow = {"aiohttp", "datakit_ci.engine", "datakit_core.ninep", "pydantic", "rich", "typer"}
    assert not slow & loaded
    assert {path: path.stat().st_mtime_ns for path in database.rglob("*")} == before


def test_a_dry_run_says_what_would_run_and_why_and_runs_nothing(scratch: Scratch) -> None:
    fresh = scratch.run("--dry-run").stdout.splitlines()
    assert fresh[1:] == [
        "would run:",
        "  lint  it has never run",
        "  word  it has never run",
        "not known before these have run:",
        "  after",
    ]
    scratch.run()
    refs = scratch.refs()
    (scratch.root / "src/more").touch()
    done = scratch.run("--dry-run")
    assert done.returncode == 0
    assert re.search(
        r"^  lint  src has changed: a directory \w{10} -> a d", done.stdout, re.MULTILINE
    )
    assert re.search(r"^  word  the input has changed: ", done.stdout, re.MULTILINE)
    (scratch.root / "src/good").unlink()
    (scratch.root / "src/more").unlink()
    assert "  lint  src is gone\n" in scratch.run("--dry-run").stdout
    assert scratch.refs() == refs


def test_who_reads_only_the_beginning_is_no_error(scratch: Scratch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = scratch.command(["--dry-run"])
    with subprocess.Popen(
        command, cwd=scratch.root, stdout=writer, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writer)
        _, said = process.communicate()
    assert (process.returncode, said) == (141, "")


def test_a_dry_run_can_be_read_by_programs(scratch: Scratch) -> None:
    scratch.run()
    pipeline = scratch.root / "pipeline.py"
    pipeline.write_text(PIPELINE.replace("cat out", "cat ./out"))
    (told,) = [json.loads(line) for line in scratch.run("--dry-run", "--json").stdout.splitlines()]
    assert told["changed"]
    assert [(each["stage"], each["reason"][:9]) for each in told["run"]] == [("word", "the input")]
    assert told["later"] == ["after"]
    assert [(each["stage"], each["status"]) for each in told["served"]] == [("lint", "success")]
    assert {job["name"]: job["status"] for job in told["jobs"]} == {
        "lint": "success",
        "after": "waiting",
    }
    check_refused(scratch.run("--json"), "--json is for --dry-run")


def test_a_database_that_a_service_has_is_still_read(scratch: Scratch) -> None:
    scratch.run()
    service = open_local(scratch.root / ".datakit/database.git")

    async def meanwhile() -> subprocess.CompletedProcess[str]:
        async with service:
            return await asyncio.to_thread(scratch.run)

    done = asyncio.run(meanwhile())
    assert done.returncode == 0
    assert "temporary" not in done.stdout


def check_refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("datakit-ci: ")
    assert message in line


async def test_ctrl_c_stops_all_builds(scratch: Scratch) -> None:
    scratch.git("branch", "slow")
    returned, output, pids = interrupted(scratch)
    assert returned == 130
    assert "interrupted" in output
    for pid in pids:
        await gone(pid)


def interrupted(scratch: Scratch) -> tuple[int, str, list[int]]:
    """Press Ctrl-C while a build runs: the status, the output, and who was running."""
    command = scratch.command(["--verbose", "--target", "heads/slow"])
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=scratch.root, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = ""
        while not (found := re.match(r"slow \| (\d+) (\d+)", line)):
            line = process.stdout.readline()
            assert line, "it ended too soon"
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
    return process.returncode, output, [int(found[1]), int(found[2])]


def test_a_dry_run_imports_the_repository_s_own_pipeline_as_it_is_now(scratch: Scratch) -> None:
    own = PIPELINE.partition("config =")[0]
    (scratch.root / "ci").mkdir()
    (scratch.root / "ci" / "pipeline.py").write_text(own)
    service = 'Config(projects=[Project("me/app", pipeline="ci/pipeline.py")])'
    (scratch.root / "pipeline.py").write_text(
        f"from datakit_ci import Config, Project\nconfig = {service}\n"
    )
    before = scratch.run("--dry-run").stdout
    assert re.search(r"would run:\n  (lint|word) +it has never run\n  (lint|word) +it", before)
    assert not (scratch.root / ".datakit" / "database.git").exists()
    assert scratch.run("--once").returncode == 0
    again = scratch.run("--once")
    assert (again.returncode, "running" in again.stdout) == (0, False), again.stdout
    assert "would run" not in scratch.run("--dry-run").stdout
    (scratch.root / "ci" / "pipeline.py").write_text(own.replace("echo 1", "echo 2"))
    changed = scratch.run("--dry-run").stdout
    assert re.search(r"would run:\n  word +its code, command or parameters", changed), changed
