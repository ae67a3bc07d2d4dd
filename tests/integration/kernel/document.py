"""The sessions of ``docs/filesystem.md``, on a mount made as it says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.shell import Step, sessions, without_commits

__all__ = ["STEPS", "WHERE", "mount_command", "printed", "script"]

_TEXT = (Path(__file__).parents[3] / "docs" / "filesystem.md").read_text()
_COMMAND = re.compile(r"^sudo (mount -t 9p -o \S+) 127\.0\.0\.1 (\S+)$", re.MULTILINE)
_MARK = "@step"

STEPS: list[Step] = sessions(_TEXT)


def _found() -> tuple[str, str]:
    """The document's mount command up to its options, and where it mounts."""
    found = _COMMAND.search(_TEXT)
    assert found is not None, "the document does not say how to mount"
    return found[1], found[2]


WHERE = _found()[1]


def mount_command(host: str, port: int, dialect: str) -> str:
    """The document's own, for another server; other dialects need the aname that it names."""
    command = _found()[0]
    assert ",port=5640,version=9p2000.L," in command
    escaped = "" if dialect == "9p2000.L" else ",aname=posix"
    command = command.replace(
        ",port=5640,version=9p2000.L,", f",port={port},version={dialect}{escaped},"
    )
    return f"mkdir -p {WHERE}\n{command} {host} {WHERE}"


def script() -> str:
    """A script that runs all steps one after the other, with a pipe for a terminal."""
    lines = [f"cd {WHERE}"]
    for step in STEPS:
        lines += [f"echo {_MARK}", f"{{ {step.command}; }} 2>/dev/null | cat"]
    return "\n".join(lines)


def printed(output: str) -> list[str]:
    """What each step printed, without the hashes of commits."""
    parts = re.split(f"^{_MARK}\n", output, flags=re.MULTILINE)
    return [without_commits(part) for part in parts[1:]]
