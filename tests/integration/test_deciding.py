"""``datakit-ci rebuild`` and its like, as processes of their own, on a real service."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from datakit_core.client import connect
from tests.support.branches import messages_of
from tests.support.databases import open_store
from tests.support.git import commit_file
from tests.support.service import running_service

PIPELINE = """
from datakit_ci import Config, Project, shell

config = Config(projects=[Project("me/app", lambda t: {"unit": shell("unit", "true")(t.source)})])
"""

MAIN = "me/app/heads/main"


async def ci(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command; Git knows nobody's name there but the one in the environment."""
    environment = os.environ | {
        "GIT_CONFIG_GLOBAL": str(directory / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "datakit_ci", *arguments,
        stdout=PIPE, stderr=PIPE, cwd=directory, env=environment,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_a_person_rebuilds_pauses_and_resumes_from_the_command_line(tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.py"
    pipeline.write_text(PIPELINE)
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Alice Liddell\n")
    head = commit_file(tmp_path / "app", "a", b"1")
    git = tmp_path / "db.git"
    async with running_service(
        tmp_path / "pipeline.py", tmp_path / "app", git, "me/app"
    ) as running:
        at = ("--connect", running.database)
        await running.until_job("main", "unit", "success", at=head)
        code, out, err = await ci(tmp_path, "rebuild", MAIN, "unit", *at, "--timeout", "50")
        assert (code, err) == (0, "")
        assert out.startswith("rebuild unit of me/app")
        async with connect(running.database) as database:
            async for _ in database.watch_head("results/me-app/unit"):
                if len(messages := await messages_of(database, "results/me-app/unit")) == 2:
                    assert messages[0].endswith("\n\nRebuild by Alice Liddell")
                    break

        code, out, _ = await ci(tmp_path, "pause", "me/app", *at, "--user", "bob", "--json")
        assert (code, json.loads(out)) == (0, {"done": True, "text": "paused me/app"})
        code, out, err = await ci(tmp_path, "pause", "me/app", *at)
        assert (code, out) == (1, "")
        assert err == "datakit-ci: me/app is paused already, by bob\n"
        code, out, _ = await ci(tmp_path, "status", *at)
        assert code == 0
        assert out.splitlines()[0].startswith("me/app is paused by bob since ")
        assert (await ci(tmp_path, "resume", "me/app", *at))[0] == 0

        code, out, _ = await ci(tmp_path, "status", MAIN, *at, "--json")
        said = json.loads(out)
        assert (said["commit"], said["status"], said["paused_by"]) == (head, "success", None)
        assert [job["name"] for job in said["jobs"]] == ["unit"]

        code, _, err = await ci(tmp_path, "pause", "me/app", "--git", str(git))
        assert code == 2
        assert "is served by another DataKit" in err
    code, out, _ = await ci(tmp_path, "pause", "me/app", "--git", str(git), "--user", "bob")
    assert (code, out) == (0, f"left for the next engine on {git}: pause me/app\n")


async def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    git = tmp_path / "db.git"
    async with open_store(git):
        pass
    at = ("--git", str(git), "--user", "bob")
    for arguments, code, words in [
        (("rebuild", "main", *at), 2, "'main' is not a target"),
        (("cancel", MAIN, "--git", str(git), "--user", "b\nc"), 2, "is not the name of a user"),
        (("status", MAIN, "--git", str(git)), 1, "nothing is recorded of me/app/ref/heads/main"),
        (("pause", "me/app"), 2, "give --connect URL"),
    ]:
        done, _, err = await ci(tmp_path, *arguments)
        assert done == code, arguments
        assert words in err
        assert len(err.splitlines()) == 1
    assert await ci(tmp_path, "status", "--git", str(git)) == (0, "", "")
