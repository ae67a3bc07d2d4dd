"""The bridge with all that it needs around it: credentials, database, webhooks, metrics."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from datakit_ci.bridges.github.approvals import Approvals
from datakit_ci.bridges.github.bridge import GitHubBridge
from datakit_ci.bridges.github.capabilities import Capabilities, Resource
from datakit_ci.bridges.github.checkruns import CheckRuns
from datakit_ci.bridges.github.client import Token
from datakit_ci.bridges.github.credentials import AppToken, read_secret, token_file
from datakit_ci.bridges.github.events import Approval, Wish
from datakit_ci.bridges.github.evidence import Evidence
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.options import DEFAULT_TOKEN, Options
from datakit_ci.bridges.github.reruns import Reruns
from datakit_ci.bridges.github.rest import GitHub
from datakit_ci.bridges.github.webhook import Heed, Hook, register, serve_webhooks
from datakit_ci.bridges.running import open_database, until_signal
from datakit_core.client.api import Database
from datakit_core.errors import ConfigError
from datakit_core.monitoring import serve_process_metrics

__all__ = ["granting", "serve"]

_log = logging.getLogger(__name__)

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
        may = options.capabilities if options.app is None else options.capabilities.of_app()
        checks = _checks(options, may, database)
        hub = GitHub(
            session, token, url=options.api, clone=options.clone, meter=meter, checks=checks
        )

        async def greet(project: str) -> None:
            if hook is not None:
                await register(hub, hook, project, may_write=may.may_write(Resource.WEBHOOK))

        bridge = GitHubBridge(
            database,
            hub,
            branch=options.branch,
            capabilities=may,
            repositories=options.repositories,
            resync=options.resync,
            fetch=options.fetch,
            meter=meter,
            greet=greet,
        )
        reruns = None
        if checks is not None:
            reruns = Reruns(database, options.branch, checks.app, hub, bridge.notice)
        approvals = None
        if may.may_read(Resource.COMMENT):
            approvals = Approvals(database, options.branch, hub)
        heed = granting(reruns, approvals)
        if once:
            await bridge.sync_all()
            return
        await stack.enter_async_context(_listening(options, hook, bridge, meter, heed))
        await until_signal(bridge.run())


def granting(reruns: Reruns | None, approvals: Approvals | None) -> Heed:
    """Grants what may be granted here."""

    async def heed(wish: Wish | Approval, delivery: str) -> bool:
        match wish:
            case Wish():
                return reruns is not None and await reruns.heed(wish, delivery)
            case Approval():
                return approvals is not None and await approvals.heed(wish, delivery)

    return heed


@asynccontextmanager
async def _listening(
    options: Options, hook: Hook | None, bridge: GitHubBridge, meter: Meter, heed: Heed
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if options.prometheus is not None:
            await stack.enter_async_context(serve_process_metrics(options.prometheus, meter))
        if hook is not None:
            listen = options.webhook_listen.host, options.webhook_listen.port
            await stack.enter_async_context(
                serve_webhooks(hook, listen, bridge.notice, meter, heed)
            )
        yield


def _checks(options: Options, may: Capabilities, database: Database) -> CheckRuns | None:
    """Only Apps may make check runs; with any other token there are statuses."""
    if options.app is None:
        return None
    return CheckRuns.of(int(options.app.id), may, Evidence(database).of)


def _hook(options: Options) -> Hook | None:
    if not options.webhook:
        return None
    file = options.webhook_secret
    if options.app is not None and file is None:
        _log.warning(
            "who clicks on Re-run on GitHub is not heard: the App's own webhook needs a secret "
            "that both sides know, --webhook-secret FILE"
        )
    return Hook.at(options.webhook, read_secret(file, "--webhook-secret") if file else "")


def _token(options: Options, session: aiohttp.ClientSession) -> Token:
    if (app := options.app) is not None:
        key = read_secret(app.key, "--app-key")
        return AppToken(session, options.api, app.id, key, app.installation)
    path = options.token or (DEFAULT_TOKEN if DEFAULT_TOKEN.exists() else None)
    if path is None:
        raise ConfigError(f"no token: put one into a file, as {DEFAULT_TOKEN}", "--token")
    return token_file(path)
