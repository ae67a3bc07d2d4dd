"""``git daemon`` on a free port of loopback, without waiting for it to start."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["git_daemon"]


@asynccontextmanager
async def git_daemon(directory: Path) -> AsyncIterator[str]:
    """Serve the repositories below ``directory``, also for pushes; the URL of the directory.

    Each connection gets a daemon of its own, as from inetd(8), so the port is listened on from
    the beginning and chosen by the system.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(_accept(listener, directory, tasks))
            yield f"git://127.0.0.1:{listener.getsockname()[1]}"
            accepting.cancel()


async def _accept(listener: socket.socket, directory: Path, tasks: asyncio.TaskGroup) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            process = await asyncio.create_subprocess_exec(
                "git", "daemon", "--inetd", "--export-all", "--enable=receive-pack",
                f"--base-path={directory}", directory,
                stdin=connection.fileno(), stdout=connection.fileno(),
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
            )  # fmt: skip
        tasks.create_task(_ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    await process.wait()
