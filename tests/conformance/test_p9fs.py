"""A foreign client: p9fs 0.0.4 from PyPI, a 9P back end of fsspec.

What it cannot do, seen in its sources, and how the session goes around it:

* Its files never read more than the length that stat reports, which is 0 for a stream, so the
  session reads streams with the calls below them.
* Writing creates the file first, also one that exists. DataKit lets a client create a file that
  is there already, so ``msg`` and ``ctl`` can be written like any other file.
* ``exists`` knows a missing file only by Plan 9's text ``file not found``, which is not ours and
  never was; the session does without.
* A file's last byte is not written when it is alone in its message, so no content here is one
  byte long, or one byte longer than a message.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.foreign import environment
from tests.support.served import serve

SCRIPT = Path(__file__).parent / "foreign" / "p9fs_session.py"


@pytest.fixture(scope="session")
def p9fs() -> Path:
    """A Python that has p9fs."""
    try:
        return environment("p9fs==0.0.4")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.foreign
@pytest.mark.timeout(180)  # the first run installs it
@pytest.mark.parametrize("version", ["9P2000", "9P2000.u"])
async def test_p9fs_lists_reads_commits_and_streams(
    version: str, p9fs: Path, tmp_path: Path
) -> None:
    async with serve(tmp_path / "db.git") as served:
        process = await asyncio.create_subprocess_exec(
            p9fs, SCRIPT, version, str(served.port), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        seen = json.loads(output)
        head = served.store.head("master")
        assert head is not None
        (first,) = served.store.commit(head).parents
    assert seen == {
        "root": ["branch", "trees", "commits", "snapshots", "remotes", "debug"],
        "branch": [
            "ro", "transactions", "watch", "head.live", "fast-forward", "reflog", "head",
        ],
        "live": [f"{first}\n", f"{head}\n"],
        "head": f"{head}\n",
        "src": ["Makefile", "big"],
        "makefile": "all: build",
        "big": True,
        "size": 256_000,
        "message": "Second\n",
        "removed": ["Makefile"],
    }  # fmt: skip
