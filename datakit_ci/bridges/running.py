"""What every bridge that is a process of its own does: open its database, work until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from datakit_core.client import Database, open_local, reconnecting

__all__ = ["open_database", "until_signal"]


def open_database(address: str) -> AbstractAsyncContextManager[Database]:
    """The database at ``git:PATH``, which no server has, or of a server, which may restart.

    Raises:
        ConfigError: The address makes no sense.
        Disconnected: Nobody serves there.
        RepositoryError: The repository cannot be opened, or a server has it.
    """
    if address.startswith("git:"):
        return open_local(Path(address.removeprefix("git:")), create=True)
    return reconnecting(address)


async def until_signal(work: Coroutine[None, None, None]) -> None:
    """Do ``work`` until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
