"""Other people's programs, each in an environment of its own.

A package that our tests only talk to over a socket must not share our environment: it has
requirements of its own, and nothing of ours may come to depend on it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["environment"]

_READY = ".ready"


def environment(*requirements: str) -> Path:
    """The Python of an environment that has ``requirements``, made at the first call.

    It is kept inside our own environment, so that the next run need not install anything and
    ``make clean`` removes it.

    Args:
        requirements: Packages with exact versions, as ``pip install`` takes them.

    Raises:
        RuntimeError: They cannot be installed; says why.
    """
    name = "-".join(requirement.replace("==", "-") for requirement in requirements)
    directory = Path(sys.prefix) / "foreign" / name
    directory.parent.mkdir(exist_ok=True)
    python = directory / "bin" / "python"
    with Path(f"{directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / _READY).exists():
            shutil.rmtree(directory, ignore_errors=True)
            venv.create(directory, with_pip=True)
            _install(python, requirements)
            (directory / _READY).touch()
    return python


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, *requirements],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PIP_NO_INPUT": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"cannot install {' '.join(requirements)}: {done.stderr.strip()}")
