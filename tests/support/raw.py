"""Raw clients of a served database, in each dialect; see :mod:`tests.support.raw_client`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from datakit_core.ninep.dialect import LINUX, PLAIN, UNIX, Dialect
from tests.support.raw_client import Path, Raw, RawError
from tests.support.raw_linux import RawLinux

__all__ = ["DIALECTS", "Path", "Raw", "RawError", "RawLinux", "classic", "connect", "linking"]


@asynccontextmanager
async def connect(
    port: int, dialect: Dialect = PLAIN, *, aname: str = "", begin: bool = True
) -> AsyncIterator[Raw]:
    """A connection to a server on loopback; with a session unless ``begin`` is false."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = (RawLinux if dialect is LINUX else Raw)(reader, writer, dialect)
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(raw.receive())
        try:
            if begin:
                await raw.begin(aname)
            yield raw
        finally:
            receiving.cancel()
            writer.close()
            await writer.wait_closed()


DIALECTS = {"9P2000": PLAIN, "9P2000.u": UNIX, "9P2000.L": LINUX}
"""By version string."""

classic = pytest.mark.parametrize("dialect", ["9P2000", "9P2000.u"], indirect=True)
"""For scenarios about the texts of errors, or requests, that 9P2000.L does not have."""

linking = pytest.mark.parametrize("dialect", ["9P2000.u", "9P2000.L"], indirect=True)
"""For scenarios with symbolic links, which 9P2000 cannot make."""
