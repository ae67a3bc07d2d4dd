"""Webhooks: signed messages about how targets stand, to endpoints over HTTP.

A message that is sent twice has the same id. No redirect is followed. Addresses come from the
service's own configuration, whose author may reach what the service can, private networks
included; nobody else can name one.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime

import aiohttp

from datakit_ci.bridges.courier import Mark, Outcome
from datakit_ci.bridges.posting import page_of, plain, post
from datakit_ci.canonical import canonical_json
from datakit_ci.state import TargetState
from datakit_ci.webhook import CHANGED, FINISHED, Webhook, sign

__all__ = ["Endpoint"]


class Endpoint:
    """One webhook's endpoint, as a :class:`~datakit_ci.bridges.courier.Recipient`."""

    def __init__(self, hook: Webhook, base_url: str, session: aiohttp.ClientSession) -> None:
        """Send to ``hook``; pages are below ``base_url``."""
        self._hook = hook
        self._base = base_url
        self._session = session
        self._key = b""

    @property
    def id(self) -> str:
        """The webhook's own."""
        return self._hook.id

    @property
    def title(self) -> str:
        """By its id: an address may hold a token."""
        return f"webhook {self._hook.id}"

    async def prepare(self) -> None:
        """Read the key; raises ``ConfigError``."""
        self._key = await asyncio.to_thread(self._hook.key)

    def is_news(self, state: TargetState, told: Mark | None) -> bool:
        """Whether this is another state than that, and one of those that are wanted."""
        return self._event(state, told) is not None

    async def tell(self, state: TargetState, told: Mark | None) -> Outcome:
        """Send one message."""
        event = self._event(state, told)
        assert event is not None
        return await self._send(self._body(event, state, told), self._message_id(state, told))

    def _event(self, state: TargetState, told: Mark | None) -> str | None:
        """What to call this news; none: it is none, or not for this endpoint."""
        hook = self._hook
        if (hook.projects and state.target.project not in hook.projects) or (
            told == Mark.of(state) or state.head is None
        ):
            return None
        event = FINISHED if state.status.is_final else CHANGED
        return event if event in hook.events else None

    def _body(self, event: str, state: TargetState, told: Mark | None) -> bytes:
        target = state.target
        return canonical_json(
            {
                "type": event,
                "timestamp": _print(state.updated or datetime.now(UTC)),
                "data": {
                    "project": plain(target.project),
                    "kind": target.kind_value,
                    "name": plain(target.name),
                    "page": page_of(self._base, target),
                    "head": state.head,
                    "subject": plain(state.subject),
                    "status": state.status.value,
                    "before": None if told is None else told.status,
                    "problem": plain(state.problem),
                    "jobs": [
                        {
                            "name": plain(job.name),
                            "status": job.status.value,
                            "description": plain(job.description),
                        }
                        for job in state.jobs
                    ],
                },
            }
        )

    def _message_id(self, state: TargetState, told: Mark | None) -> str:
        """The same for every attempt at the same news."""
        parts = (self._hook.id, state.target, Mark.of(state), told, state.updated)
        return f"msg_{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"

    async def _send(self, body: bytes, id_: str) -> Outcome:
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "datakit-ci",
            "webhook-id": id_,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(self._key, id_, now, body),
        }
        return await post(self._session, self._hook.url, body, headers, self.title)


def _print(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
