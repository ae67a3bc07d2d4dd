"""The examples run and do what they say."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from datakit_ci.cli import main as datakit_ci
from datakit_core.ninep import connect
from examples import client
from tests.support.git import git
from tests.support.served import serve

CHECKOUT = Path(__file__).parents[2]


async def test_hello_9p_serves_its_files() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.hello_9p",
        "tcp://127.0.0.1:0",
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().split()[-1]
        async with connect(address) as connected:
            assert await connected.names([]) == ["hello", "note", "clock", "shout"]
            assert await connected.read(["hello"]) == b"Hello from 9P!\n"
            await connected.write(["note"], b"been here")
            assert await connected.read(["note"]) == b"been here"
            assert await connected.command(["shout"], "hey") == b"HEY\n"
            lines = connected.lines(["clock"])
            assert [(await anext(lines)).count(b":") for _ in range(2)] == [2, 2]
            await lines.aclose()
    finally:
        process.terminate()
        await process.wait()


async def test_the_client_counts_shows_and_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(tmp_path / "db.git") as served:
        await client.main(served.address)
        head = served.store.head("counter")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" runs")
    assert lines[1] == "count 1"
    assert lines[2].endswith(" Count to 1")
    first = lines[2].split()[1]
    assert lines[3:] == [f"head {first}", f"head {head}"]


def test_a_repository_with_its_own_pipeline_is_tested_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "app"
    shutil.copytree(CHECKOUT / "examples/repository/ci", repository / "ci")
    for path, text in FILES.items():
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text(text)
    git(tmp_path, "init", "-q", "-b", "main", "app")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "All")
    monkeypatch.chdir(repository)
    service = str(CHECKOUT / "examples/repository/service.py")
    for arguments in (
        ["check", "--project", "me/app", "ci/pipeline.py"],
        ["run", service, "--once"],
    ):
        monkeypatch.setattr(sys, "argv", ["datakit-ci", *arguments])
        with pytest.raises(SystemExit) as ended:
            datakit_ci()
        assert not ended.value.code, capsys.readouterr().out
    said = capsys.readouterr().out
    for job in ("documented", "unit", "migrate"):
        assert re.search(rf"{job}\s+success", said), said


FILES = {
    "src/adder.py": '"""Adds."""\n',
    "tests/test_adder.py": "import unittest\n\n\nclass Test(unittest.TestCase):\n"
    "    def test(self) -> None:\n        pass\n",
    "migrate.sh": "echo migrated\n",
}
