"""Which versions of what the service runs with, for people who look for the cause of something."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from datakit_core import __version__

__all__ = ["Versions"]

_PACKAGES = ("pygit2", "aiohttp", "jinja2", "dask", "distributed")
_PROGRAMS = ("git", "bwrap")
_PATIENCE = 5.0
"""Seconds for a program to say its version."""


class Versions:
    """Finds them out once, when somebody asks first."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._found: Mapping[str, str] | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> Mapping[str, str]:
        """By name; of what is not there it says so, if it is a program that builds need."""
        async with self._lock:
            if self._found is None:
                found = {"DataKit": __version__, "Python": platform.python_version()}
                found["system"] = f"{platform.system()} {platform.release()}"
                for program in _PROGRAMS:
                    found[program] = await _program(program)
                found.update(await asyncio.to_thread(_packages))
                self._found = found
        return self._found


def _packages() -> Mapping[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


async def _program(name: str) -> str:
    """What ``NAME --version`` says, but for the name."""
    try:
        process = await asyncio.create_subprocess_exec(
            name,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return "not there"
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        return "does not answer"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = said.decode(errors="replace").split()
    return words[-1] if words and process.returncode == 0 else "does not say"
