"""Receives GitHub's webhooks: checks who sent them, and tells the bridge where to look."""

from __future__ import annotations

import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event

from datakit_ci.bridges.github.events import EVENTS, scope_of
from datakit_ci.bridges.github.hub import Refused, Unavailable
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.scope import Scope
from datakit_core.errors import ConfigError

__all__ = ["Hook", "HookRegistry", "register", "serve_webhooks"]

_log = logging.getLogger(__name__)

_LARGEST = 25 * 1024 * 1024
"""Bytes of a payload; GitHub sends none that is larger."""

_REMEMBERED = 10_000
"""Deliveries that are known when they come again."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What GitHub is told to call.

    Attributes:
        url: As GitHub reaches it.
        secret: By which it signs.
    """

    url: str
    secret: str

    @classmethod
    def at(cls, url: str, secret: str = "") -> Hook:
        """A hook with a secret of its own if none is given.

        Raises:
            ConfigError: ``url`` is none that GitHub could call.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not of the form https://HOST/PATH", "--webhook")
        return cls(url, secret or secrets.token_hex(32))


class HookRegistry(Protocol):
    """The webhooks of repositories on GitHub."""

    async def set_hook(self, project: str, url: str, secret: str, events: tuple[str, ...]) -> None:
        """Have a repository's events sent to ``url``; a hook that is there is brought in line."""
        ...


async def register(hooks: HookRegistry, hook: Hook, project: str, *, may_write: bool) -> None:
    """Ask GitHub for a repository's events; without that right, periodic looks remain."""
    if not may_write:
        return
    try:
        await hooks.set_hook(project, hook.url, hook.secret, EVENTS)
    except (Refused, Unavailable) as error:
        _log.error("no webhook for %s, which is only looked at now and then: %s", project, error)


@asynccontextmanager
async def serve_webhooks(
    hook: Hook,
    listen: tuple[str, int],
    notice: Callable[[str, Scope], bool],
    meter: Meter,
) -> AsyncIterator[tuple[str, int]]:
    """Serve ``hook`` until the context is left.

    Args:
        hook: Its path counts.
        listen: Host and port of this machine; port 0 for any free one.
        notice: Is told where to look; says whether anybody wants to know.
        meter: What to count with.

    Yields:
        Where it listens.

    Raises:
        ConfigError: The address cannot be had.
    """
    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post(
        urlsplit(hook.url).path or "/", _Receiver(hook.secret, notice, meter).receive
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, *listen)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}", "--webhook-listen"
            ) from error
        host, port = runner.addresses[0][:2]
        yield host, port
    finally:
        await runner.cleanup()


class _Receiver:
    """Answers one request after the other; nothing waits for anything but the body."""

    def __init__(self, secret: str, notice: Callable[[str, Scope], bool], meter: Meter) -> None:
        self._secret = secret
        self._notice = notice
        self._meter = meter
        self._known: OrderedDict[str, None] = OrderedDict()

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._is_signed(request.headers.get("X-Hub-Signature-256", ""), body):
            return self._answer("forged", 401, "The signature does not fit.")
        delivery = request.headers.get("X-GitHub-Delivery", "")
        if delivery in self._known:
            return self._answer("repeated", 202, "That has come before.")
        self._remember(delivery)
        event = request.headers.get("X-GitHub-Event", "")
        if event == "ping":
            return self._answer("ping", 200, "pong")
        try:
            found = scope_of(event, json.loads(body))
        except ValueError:
            return self._answer("broken", 400, "The body is no JSON.")
        if found is None or not self._notice(*found):
            return self._answer("ignored", 202, "Nobody here wants to know.")
        return self._answer("heeded", 202, "Thank you.")

    def _is_signed(self, signature: str, body: bytes) -> bool:
        """Whether who sent it knows the secret; SHA-1, which GitHub still sends too, counts not."""
        if not signature.isascii() or not signature.startswith("sha256="):
            return False
        try:
            validate_event(body, signature=signature, secret=self._secret)
        except ValidationFailure:
            return False
        return True

    def _remember(self, delivery: str) -> None:
        self._known[delivery] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _answer(self, result: str, status: int, text: str) -> web.Response:
        self._meter.received(result)
        return web.Response(status=status, text=text)
