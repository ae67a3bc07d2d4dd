"""Real Git, as another process that works on the same repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["commit_file", "git"]

_IDENTITY = {
    "GIT_AUTHOR_NAME": "A. Writer",
    "GIT_AUTHOR_EMAIL": "writer@example.org",
    "GIT_COMMITTER_NAME": "A. Writer",
    "GIT_COMMITTER_EMAIL": "writer@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}


def git(directory: Path, *arguments: str | Path, given: bytes = b"") -> str:
    """What ``git -C directory arguments`` prints; fails the test if Git fails.

    Args:
        directory: A repository or a place for one.
        arguments: The command.
        given: Its standard input.
    """
    done = subprocess.run(
        ["git", "-C", directory, *arguments],
        input=given,
        capture_output=True,
        env=os.environ | _IDENTITY,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="surrogateescape").strip()


def commit_file(directory: Path, name: str, content: bytes) -> str:
    """Make a checkout if there is none, commit one file to its branch ``main``; the commit's id."""
    if not directory.exists():
        directory.mkdir(parents=True)
        git(directory, "init", "-q", "-b", "main")
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)
    git(directory, "add", "-f", name)
    git(directory, "commit", "-q", "-m", f"change {name}")
    return git(directory, "rev-parse", "HEAD")
