"""``datakit-ci run`` whose builds run on a cluster: real processes, and what people are told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.farm import Farm, Program
from tests.support.git import commit_file

PIPELINE = b"""
from datakit_ci import Config, Project, shell, stage

@stage
def count(source):
    return {"count": str(len(source.read("text").split()))}

show = shell("show", "echo there are $(cat count)")

def jobs(target):
    return {"show": show(count(target.source))}

config = Config(projects=[Project("me/app", jobs)])
"""


@pytest.fixture
def farm() -> Iterator[Farm]:
    with tempfile.TemporaryDirectory(prefix="farm-") as directory:  # short, for its socket
        farm = Farm(Path(directory))
        farm.database = f"unix://{directory}/socket"
        farm.schedule()
        yield farm
        farm.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    commit_file(tmp_path / "app", "pipeline.py", PIPELINE)
    commit_file(tmp_path / "app", "text", b"one two")
    return tmp_path / "app"


@pytest.mark.timeout(180)  # four programs, one after the other
def test_a_run_has_its_builds_done_by_workers_that_stay_for_the_next(
    farm: Farm, checkout: Path
) -> None:
    command = ["run", "pipeline.py", "--once", "--verbose", "--executor", f"dask:{farm.scheduler}"]
    command += ["--listen-9p", farm.database]
    first = Program("datakit_ci", *command, directory=checkout)
    first.until(f"database {farm.database}, for workers")
    first.until("has no workers. Builds wait for one.")
    worker = farm.hire("one")
    assert first.wait() == 0, first.said
    assert "there are 2" in first.said
    (checkout / "text").write_text("one two three")
    second = Program("datakit_ci", *command, directory=checkout)
    assert second.wait() == 0, second.said
    assert "there are 3" in second.said
    log = subprocess.run(
        [sys.executable, "-m", "datakit_ci", "results", "list", "--json"],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert log.count('"executor": "dask"') == 4
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--executor dask:tcp://h:1", "--executor: workers read the run's database: say where"),
        (
            "--executor here",
            "--executor: write local, dask:tls://HOST:PORT or dask:tcp://HOST:PORT",
        ),
        ("--listen-9p unix:///s", "--listen-9p is for --executor dask:tls://HOST:PORT"),
        ("--executor-tls ca-file=x", "--executor-tls is for --executor dask:tls://HOST:PORT"),
        ("--executor dask:tcp://h:1 --listen-9p here", "'here'"),
    ],
)
def test_options_that_make_no_sense_together_are_a_line(
    checkout: Path, options: str, said: str
) -> None:
    command = ["run", "pipeline.py", "--once", *options.split()]
    program = Program("datakit_ci", *command, directory=checkout)
    assert program.wait() == 2, program.said
    assert said in program.said
    assert "Traceback" not in program.said
