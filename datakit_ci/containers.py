"""Whether there is a container engine: asked by its command line, which heeds ``DOCKER_HOST``."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncGenerator
from typing import Final

__all__ = ["ENGINE_VARIABLES", "engine_is_there", "watch_engine"]

ENGINE_VARIABLES: Final = (
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "DOCKER_API_VERSION",
    "DOCKER_BUILDKIT",
)
"""What says which engine, and how to talk to it."""

_PATIENCE = 10.0
"""Seconds for an engine to say that it is there."""

_EVERY = 15.0
"""Seconds after which it is asked again."""

_MISSES = 3
"""Times in a row that it must be silent until it counts as gone: a busy one may be slow."""


async def engine_is_there() -> bool:
    """Whether there is an engine that answers."""
    try:
        process = await asyncio.create_subprocess_exec(
            "docker",
            "version",
            "--format={{.Server.Version}}",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_PATIENCE):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def watch_engine(every: float = _EVERY) -> AsyncGenerator[bool, None]:
    """Whether it is there: at once, and whenever that changes.

    Args:
        every: Seconds between two looks.
    """
    known, misses = await engine_is_there(), 0
    yield known
    while True:
        await asyncio.sleep(every)
        is_there = await engine_is_there()
        misses = 0 if is_there else misses + 1
        if is_there != known and (is_there or misses >= _MISSES):
            known = is_there
            yield known
