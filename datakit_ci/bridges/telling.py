"""Telling people and programs how targets stand: a courier for each whom the pipeline names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import aiohttp

from datakit_ci.bridges.courier import Courier, Recipient, States, pause_after
from datakit_ci.bridges.notices import Channel, Mailbox, first_error
from datakit_ci.bridges.webhooks import Endpoint
from datakit_ci.cache import Cache
from datakit_ci.notice import Mail, Slack
from datakit_ci.pulse import Pulse
from datakit_ci.state import BuildId
from datakit_ci.webhook import Webhook
from datakit_core.client.api import CommitId, Database
from datakit_core.errors import ConfigError

__all__ = ["Telling", "Told"]

_log = logging.getLogger(__name__)

Told: TypeAlias = Webhook | Slack | Mail
"""Whoever is told."""

_PATIENCE = 15.0
"""Seconds for an answer (Standard Webhooks: 15 to 30)."""

_RESTART = 5.0
"""Seconds until a courier that failed is started again."""


class Telling:
    """Keeps all recipients informed."""

    def __init__(
        self,
        states: States,
        database: Database,
        base_url: str,
        hooks: Sequence[Told] = (),
        pause: Callable[[int], float] = pause_after,
    ) -> None:
        """Tell ``hooks`` of ``states``.

        Args:
            states: What to tell of.
            database: Remembers what was told.
            base_url: Where the pages are.
            hooks: Whom to tell.
            pause: How long to wait after so many failures in a row, in seconds.
        """
        self._states = states
        self._database = database
        self._base = base_url.rstrip("/")
        self._hooks = tuple(hooks)
        self._pause = pause
        self._changed = Pulse()

    def configure(self, hooks: Sequence[Told]) -> None:
        """Tell these from now on, with the secrets as they are now."""
        if hooks or self._hooks:
            self._hooks = tuple(hooks)
            self._changed.beat()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            change = self._changed.next
            async with asyncio.TaskGroup() as group:
                couriers = [group.create_task(self._keep(hook)) for hook in self._hooks]
                await change.wait()
                for courier in couriers:
                    courier.cancel()

    async def _keep(self, hook: Told) -> None:
        """The boundary of one recipient: what fails there is no other's trouble."""
        while True:
            try:
                timeout = aiohttp.ClientTimeout(total=_PATIENCE)
                async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
                    recipient = self._recipient(hook, session)
                    return await Courier(self._states, self._database, recipient).run(self._pause)
            except ConfigError as error:
                _log.error("%s; nobody is told until the pipeline is read again", error)
                return None
            except Exception:  # noqa: BLE001 - a service's boundary: the traceback is logged
                _log.exception("recipient %s failed; trying again in %g s", hook.id, _RESTART)
            await asyncio.sleep(_RESTART)

    def _recipient(self, hook: Told, session: aiohttp.ClientSession) -> Recipient:
        match hook:
            case Webhook():
                return Endpoint(hook, self._base, session)
            case Slack():
                return Channel(hook, self._base, session, self._first_error)
            case Mail():
                return Mailbox(hook, self._base, self._first_error, self._author)

    async def _first_error(self, build: BuildId) -> str:
        return await first_error(Cache(self._database).log(build))

    async def _author(self, commit: CommitId) -> str:
        return (await self._database.commit(commit)).author.email
