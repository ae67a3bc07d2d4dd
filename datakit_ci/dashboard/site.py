"""Where the dashboard listens: a socket that is bound early, and the pages that it serves."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiohttp import web

from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.clones import Clones
from datakit_ci.dashboard.controls import Controls
from datakit_ci.dashboard.metering import Meters
from datakit_ci.dashboard.particulars import Particulars
from datakit_ci.dashboard.source import Source
from datakit_ci.past import Past
from datakit_core.errors import ConfigError

__all__ = ["Site", "bind", "serve_pages"]

_SHUTDOWN = 2.0
"""Seconds that requests under way get to finish when the service stops."""


_PATIENCE = 60.0
"""Seconds without a whole head of a request after which a connection is closed: who sends one
letter at a time holds none for ever."""


@dataclass(frozen=True, slots=True)
class Site:
    """An address that is ours.

    Attributes:
        listener: Its socket.
        url: ``http[s]://HOST:PORT/``, with the port that the system has chosen.
    """

    listener: socket.socket
    url: str


@contextmanager
def bind(host: str, port: int, scheme: str = "http") -> Iterator[Site]:
    """Take an address, before anything is served: one that is in use ends the start at once.

    Args:
        host: A name or address of this machine.
        port: 0 for any free one.
        scheme: ``http`` or ``https``.

    Raises:
        ConfigError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {scheme}://{host}:{port}: {_reason(error)}; "
            "stop what uses the address, or choose another",
            "--web-ui",
        ) from error
    with listener:
        name = f"[{host}]" if ":" in host else host
        yield Site(listener, f"{scheme}://{name}:{listener.getsockname()[1]}/")


def _reason(error: OSError) -> str:
    """What is wrong, without the address that Python adds."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


@asynccontextmanager
async def serve_pages(
    source: Source,
    site: Site,
    trouble: Callable[[], str] = str,
    controls: Controls | None = None,
    past: Past | None = None,
    repository: Clones | None = None,
    meters: Meters | None = None,
    particulars: Particulars | None = None,
    access: Access | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[None]:
    """Serve the dashboard over ``source``; leaving ends open event streams.

    ``trouble`` and what follows are as :func:`create_app` takes them; with ``tls``, browsers
    speak that.

    Raises:
        ConfigError: The dashboard's files are missing.
    """
    runner = web.AppRunner(
        create_app(
            source,
            trouble=trouble,
            controls=controls,
            past=past,
            repository=repository,
            meters=meters,
            particulars=particulars,
            access=access,
        ),
        access_log=None,
        keepalive_timeout=_PATIENCE,
        shutdown_timeout=_SHUTDOWN,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, site.listener, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
