"""The bridge with all that it needs around it: credentials, database, webhooks, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from datakit_ci.bridges.github.bridge import GitHubBridge
from datakit_ci.bridges.github.capabilities import Resource
from datakit_ci.bridges.github.credentials import AppToken, read_secret, token_file
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.options import DEFAULT_TOKEN, Options
from datakit_ci.bridges.github.rest import GitHub, Token
from datakit_ci.bridges.github.webhook import Hook, register, serve_webhooks
from datakit_ci.bridges.running import open_database, until_signal
from datakit_core.errors import ConfigError
from datakit_core.monitoring import serve_process_metrics

__all__ = ["serve"]

_REQUEST = 60.0
"""Seconds for one request to GitHub."""


async def serve(options: Options, *, once: bool) -> None:
    """Run the bridge until SIGINT or SIGTERM, or until all is in step once.

    Raises:
        ConfigError: An option is wrong, or an address is in use.
        Disconnected: Nobody serves the database at the address that was given.
    """
    meter = Meter()
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=_REQUEST)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        token = _token(options, session)
        database = await stack.enter_async_context(open_database(options.datakit))
        hook = _hook(options)
        hub = GitHub(session, token, url=options.api, clone=options.clone, meter=meter)

        async def greet(project: str) -> None:
            if hook is not None:
                may = options.capabilities.may_write(Resource.WEBHOOK)
                await register(hub, hook, project, may_write=may)

        bridge = GitHubBridge(
            database,
            hub,
            branch=options.branch,
            capabilities=options.capabilities,
            repositories=options.repositories,
            resync=options.resync,
            fetch=options.fetch,
            meter=meter,
            greet=greet,
        )
        if once:
            await bridge.sync_all()
            return
        await stack.enter_async_context(_listening(options, hook, bridge, meter))
        await until_signal(bridge.run())


@asynccontextmanager
async def _listening(
    options: Options, hook: Hook | None, bridge: GitHubBridge, meter: Meter
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if options.prometheus is not None:
            await stack.enter_async_context(serve_process_metrics(options.prometheus, meter))
        if hook is not None:
            listen = options.webhook_listen.host, options.webhook_listen.port
            await stack.enter_async_context(serve_webhooks(hook, listen, bridge.notice, meter))
        yield


def _hook(options: Options) -> Hook | None:
    if not options.webhook:
        return None
    file = options.webhook_secret
    return Hook.at(options.webhook, read_secret(file, "--webhook-secret") if file else "")


def _token(options: Options, session: aiohttp.ClientSession) -> Token:
    if (app := options.app) is not None:
        key = read_secret(app.key, "--app-key")
        return AppToken(session, options.api, app.id, key, app.installation)
    path = options.token or (DEFAULT_TOKEN if DEFAULT_TOKEN.exists() else None)
    if path is None:
        raise ConfigError(f"no token: put one into a file, as {DEFAULT_TOKEN}", "--token")
    return token_file(path)
