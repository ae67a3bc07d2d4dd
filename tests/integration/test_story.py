"""The whole story, on the real thing: from a commit to the page that shows its result.

1. A repository with a pipeline; the service starts on it.
2. Its job runs; the database has the result, over 9P too, for a client that is not ours; the page
   shows it.
3. A commit that changes what the stage reads: it runs again, unasked.
4. A commit that changes something else: it does not.
5. The service stops, and starts again: nothing runs.
6. The database was plain Git all the while.

All of it with a database in the service's own process, and with one that another process serves.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from datakit_ci.state import BuildId
from tests.support.foreign import environment
from tests.support.git import commit_file, git
from tests.support.service import RunningService, running_service

PIPELINE = """
from datakit_ci import Config, Project, shell

count = shell(
    "count",
    "echo counting; wc -w < text/words | tr -d ' ' > count; echo ran >> {tally}",
    inputs=["text"],
    outputs=["count"],
)

def jobs(target):
    return {{"count": count(target.source)}}

config = Config(projects=[Project("me/words", jobs)])
"""

READ = Path(__file__).parent / "foreign" / "p9fs_read.py"


@pytest.fixture(scope="session")
def p9fs() -> Path:
    """A Python that has p9fs, a 9P client that is not ours."""
    try:
        return environment("p9fs==0.0.4")
    except RuntimeError as error:
        pytest.skip(str(error))


def _read(p9fs: Path, service: RunningService, path: str) -> bytes:
    port = urlsplit(service.database).port
    return subprocess.run([p9fs, READ, str(port), path], check=True, capture_output=True).stdout


def _build(output: dict[str, Any]) -> BuildId:
    build = output["builds"][-1]
    return BuildId(build["project"], build["stage"], build["static"], build["key"])


@pytest.mark.foreign
@pytest.mark.timeout(180)  # the first run installs the foreign client
@pytest.mark.parametrize("remote", [False, True], ids=["embedded", "served"])
async def test_from_a_commit_to_its_page(tmp_path: Path, p9fs: Path, remote: bool) -> None:
    tally, words, database = tmp_path / "tally", tmp_path / "words", tmp_path / "database.git"
    first = commit_file(words, "text/words", b"one two three\n")
    pipeline = tmp_path / "pipeline.py"
    pipeline.write_text(PIPELINE.format(tally=tally))

    async with running_service(pipeline, words, database, "me/words", remote=remote) as service:
        # 2. The commit that was there already is tested.
        build = _build(await service.until_job("main", "count", "success", at=first))
        assert tally.read_text() == "ran\n"
        branch = quote(build.branch, safe="")
        path = f"branch/{branch}/ro/{build.directory}"
        assert _read(p9fs, service, f"{path}/value/count") == b"3\n"
        assert "counting" in _read(p9fs, service, f"{path}/log").decode()
        target = await service.page("me/words/ref/heads/main")
        assert "change text/words" in target
        assert "count" in target
        assert "counting" in await service.page(f"build/{build.path}")
        status = f"github-metadata:me/words/commit/{first}/status/ci/datakit/count"
        link = git(database, "show", f"{status}/target_url")
        assert link == f"{service.dashboard}me/words/ref/heads/main"

        # 3. What the stage reads changes.
        second = commit_file(words, "text/words", b"one two three four\n")
        output = await service.until_job("main", "count", "success", at=second)
        assert tally.read_text() == "ran\nran\n"
        assert _build(output) != build
        results = git(database, "log", "--format=%s", build.branch).splitlines()
        assert len(results) == 2

        # 4. Something else changes: the result is known, and nothing runs.
        third = commit_file(words, "README", b"Words.\n")
        assert output == await service.until_job("main", "count", "success", at=third)
        assert tally.read_text() == "ran\nran\n"

    # 5. Started again, it knows.
    async with running_service(pipeline, words, database, "me/words", remote=remote) as service:
        await service.until_job("main", "count", "success", at=third)
        assert third[:7] in await service.until_page("me/words/ref/heads/main")
        assert second[:7] not in await service.page("")
        # 6. Git agrees, while it runs.
        git(database, "fsck", "--full", "--strict")
    assert tally.read_text() == "ran\nran\n"
    assert len(git(database, "log", "--format=%s", build.branch).splitlines()) == 2
