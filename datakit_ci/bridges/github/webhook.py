"""Receives GitHub's webhooks: checks who sent them, and tells the bridge where to look."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event

from datakit_ci.bridges.github.events import EVENTS, Approval, Wish, approval_of, scope_of, wish_of
from datakit_ci.bridges.github.hub import Refused, Unavailable
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.scope import Scope
from datakit_core.errors import ConfigError, DatakitError

__all__ = ["Heed", "Hook", "HookRegistry", "register", "serve_webhooks"]

_log = logging.getLogger(__name__)

_LARGEST = 25 * 1024 * 1024
"""Bytes of a payload; GitHub sends none that is larger."""

_PATIENCE = 8.0
"""Seconds in which a wish is granted or not; after ten GitHub hangs up."""

_WISHES = 4
"""Wishes that are looked at at the same time; others wait, and GitHub tells of some again."""

Heed = Callable[[Wish | Approval, str], Awaitable[bool]]
"""Grants a wish that came with this delivery; says whether it was granted."""

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
    heed: Heed | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve ``hook`` until the context is left.

    Args:
        hook: Its path counts.
        listen: Host and port of this machine; port 0 for any free one.
        notice: Is told where to look; says whether anybody wants to know.
        meter: What to count with.
        heed: Grants what people wish for; none: nothing.

    Yields:
        Where it listens.

    Raises:
        ConfigError: The address cannot be had.
    """
    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post(
        urlsplit(hook.url).path or "/", _Receiver(hook.secret, notice, meter, heed).receive
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
    """Answers requests; but for wishes nothing waits for anything but the body."""

    def __init__(
        self,
        secret: str,
        notice: Callable[[str, Scope], bool],
        meter: Meter,
        heed: Heed | None,
    ) -> None:
        self._secret = secret
        self._notice = notice
        self._meter = meter
        self._heed = heed
        self._wishes = asyncio.Semaphore(_WISHES)
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
            payload = json.loads(body)
        except ValueError:
            return self._answer("broken", 400, "The body is no JSON.")
        found = scope_of(event, payload)
        is_news = found is not None and self._notice(*found)
        wish = wish_of(event, payload) or approval_of(event, payload)
        if wish is not None and self._heed is not None:
            return await self._grant(self._heed, wish, delivery)
        if not is_news:
            return self._answer("ignored", 202, "Nobody here wants to know.")
        return self._answer("heeded", 202, "Thank you.")

    async def _grant(self, heed: Heed, wish: Wish | Approval, delivery: str) -> web.Response:
        """Answer when it is done, so that GitHub shows what failed, and can send it again."""
        try:
            async with asyncio.timeout(_PATIENCE), self._wishes:
                granted = await heed(wish, delivery)
        except (DatakitError, TimeoutError) as error:
            self._known.pop(delivery, None)
            what = "approves" if isinstance(wish, Approval) else "asks to rebuild"
            _log.error("%s %s, in vain: %s", wish.user, what, str(error) or "time-out")
            return self._answer("failed", 503, "That cannot be done now; send it again.")
        if not granted:
            return self._answer("refused", 202, "That will not be done.")
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
