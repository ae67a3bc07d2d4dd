"""Telling others how targets stand: signed messages, once for each change, until they are taken.

Level-triggered: what is told is how a target stands when it is sent, so that an endpoint that was
away hears the newest state of each target and not all that have been. What was told last lies on
the branch ``webhooks`` (``ID/TARGET``), so that a restart neither repeats nor forgets anything but
what was under way; a message that is sent twice has the same id. What waits is at most one message
for each target. An endpoint is tried again ever more slowly while it is away, up to once an hour.

No redirect is followed. Addresses come from the service's own configuration, whose author may reach
what the service can, private networks included; nobody else can name one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Protocol
from urllib.parse import quote

import aiohttp

from datakit_ci.canonical import canonical_json
from datakit_ci.filing import write_files
from datakit_ci.ledger import read_target
from datakit_ci.pulse import Pulse
from datakit_ci.state import TargetState
from datakit_ci.target import Target, decode_name, encode_name
from datakit_ci.webhook import CHANGED, FINISHED, Webhook, sign
from datakit_core.client.api import BlobId, Database, TreeId
from datakit_core.errors import ConfigError, DatakitError

__all__ = ["BRANCH", "States", "Webhooks", "pause_after"]

_log = logging.getLogger(__name__)

BRANCH: Final = "webhooks"

_PATIENCE = 15.0
"""Seconds for an answer (Standard Webhooks: 15 to 30)."""

_SLOWEST = 3600.0
_MOST_REFUSALS = 5
"""Attempts at a message that an endpoint refuses as such; then it is given up."""

_RESTART = 5.0
"""Seconds until an endpoint's courier that failed is started again."""

_PARTS = 4
"""Of a target's name: user, repository, kind and name."""


class States(Protocol):
    """What is told of."""

    def target(self, target: Target, /) -> TargetState | None:
        """One target; none if it is gone."""
        ...

    def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, then, each time, those that changed since."""
        ...


class _Outcome(Enum):
    """What an endpoint made of a message."""

    TAKEN = "taken"
    REFUSED = "refused"
    AWAY = "away"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class _Mark:
    """How a target stood when it was told of."""

    head: str
    status: str

    @classmethod
    def of(cls, state: TargetState) -> _Mark:
        return cls(state.head or "", state.status.value)

    def to_bytes(self) -> bytes:
        return canonical_json({"version": 1, "head": self.head, "status": self.status})

    @classmethod
    def from_bytes(cls, content: bytes) -> _Mark | None:
        try:
            match json.loads(content):
                case {"version": 1, "head": str(head), "status": str(status)}:
                    return cls(head, status)
                case _:
                    return None
        except ValueError:
            return None


def pause_after(attempts: int) -> float:
    """Seconds until an endpoint is tried again that was away so many times in a row."""
    return float(min(_SLOWEST, 2.0 ** min(attempts, 16)) * random.uniform(0.75, 1.25))


class Webhooks:
    """Keeps all endpoints informed."""

    def __init__(
        self,
        states: States,
        database: Database,
        base_url: str,
        hooks: Sequence[Webhook] = (),
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

    def configure(self, hooks: Sequence[Webhook]) -> None:
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

    async def _keep(self, hook: Webhook) -> None:
        """The boundary of one endpoint: what fails there is no other's trouble."""
        while True:
            try:
                timeout = aiohttp.ClientTimeout(total=_PATIENCE)
                async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
                    courier = _Courier(self._states, self._database, self._base, hook, session)
                    return await courier.run(self._pause)
            except ConfigError as error:
                _log.error("%s; nobody is told until the pipeline is read again", error)
                return None
            except Exception:  # noqa: BLE001 - a service's boundary: the traceback is logged
                _log.exception("webhook %s failed; trying again in %g s", hook.id, _RESTART)
            await asyncio.sleep(_RESTART)


class _Courier:
    """Keeps one endpoint informed."""

    def __init__(
        self,
        states: States,
        database: Database,
        base_url: str,
        hook: Webhook,
        session: aiohttp.ClientSession,
    ) -> None:
        self._states = states
        self._database = database
        self._base = base_url
        self._hook = hook
        self._session = session
        self._key = b""
        self._told: dict[Target, _Mark] = {}
        self._pending: dict[Target, None] = {}
        self._wake = asyncio.Event()

    async def run(self, pause: Callable[[int], float]) -> None:
        """Work until cancelled, or until the endpoint says that it is gone for ever."""
        self._key = await asyncio.to_thread(self._hook.key)
        known = await self._load()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(is_new=not known))
            await self._deliver(pause)
            listening.cancel()

    async def _listen(self, *, is_new: bool) -> None:
        async for targets in self._states.changes():
            if is_new:  # whoever is new hears of what comes, and not of all that has been
                await self._begin(targets)
                is_new = False
            self._pending.update(dict.fromkeys(sorted(targets)))
            self._wake.set()

    async def _begin(self, targets: frozenset[Target]) -> None:
        """Take what is recorded as told."""
        files: dict[str, bytes | None] = {f"{self._hook.id}/url-digest": b"begun\n"}
        for target in sorted(targets):
            recorded = await read_target(self._database, target)
            if recorded is not None:
                self._told[target] = mark = _Mark.of(recorded)
                files[self._path(target)] = mark.to_bytes()
        await self._save(files, "Begin to tell a webhook")

    async def _deliver(self, pause: Callable[[int], float]) -> None:
        away = refused = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                target = next(iter(self._pending))
                match await self._tell(target):
                    case _Outcome.TAKEN:
                        away = refused = 0
                        continue
                    case _Outcome.GONE:
                        _log.warning("webhook %s is gone; nobody is told there", self._hook.id)
                        return
                    case _Outcome.REFUSED if (refused := refused + 1) >= _MOST_REFUSALS:
                        refused = 0
                        await self._give_up(target)
                        continue
                    case _:
                        away += 1
                await asyncio.sleep(pause(away))

    async def _tell(self, target: Target) -> _Outcome:
        """Say how a target stands, if that is news; nothing is pending of it when it was taken."""
        state = self._states.target(target)
        event = None if state is None else self._event(state)
        if state is None or event is None:
            del self._pending[target]
            if state is None and self._told.pop(target, None) is not None:
                await self._save({self._path(target): None}, "Forget a target")
            return _Outcome.TAKEN
        mark = _Mark.of(state)
        outcome = await self._send(self._body(event, state), self._message_id(state))
        if outcome is _Outcome.TAKEN:
            await self._note(target, mark)
        return outcome

    def _event(self, state: TargetState) -> str | None:
        """What to call this news; none: it is none, or not for this endpoint."""
        hook, told = self._hook, self._told.get(state.target)
        if (hook.projects and state.target.project not in hook.projects) or (
            told == _Mark.of(state) or state.head is None
        ):
            return None
        event = FINISHED if state.status.is_final else CHANGED
        return event if event in hook.events else None

    def _body(self, event: str, state: TargetState) -> bytes:
        target, told = state.target, self._told.get(state.target)
        return canonical_json(
            {
                "type": event,
                "timestamp": _print(state.updated or datetime.now(UTC)),
                "data": {
                    "project": _text(target.project),
                    "kind": target.kind_value,
                    "name": _text(target.name),
                    "page": f"{self._base}{_path_of(target)}",
                    "head": state.head,
                    "subject": _text(state.subject),
                    "status": state.status.value,
                    "before": None if told is None else told.status,
                    "problem": _text(state.problem),
                    "jobs": [
                        {
                            "name": _text(job.name),
                            "status": job.status.value,
                            "description": _text(job.description),
                        }
                        for job in state.jobs
                    ],
                },
            }
        )

    def _message_id(self, state: TargetState) -> str:
        """The same for every attempt at the same news."""
        told = self._told.get(state.target)
        parts = (self._hook.id, state.target, _Mark.of(state), told, state.updated)
        return f"msg_{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"

    async def _send(self, body: bytes, id_: str) -> _Outcome:
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "datakit-ci",
            "webhook-id": id_,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(self._key, id_, now, body),
        }
        try:
            async with self._session.post(
                self._hook.url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                return self._judge(reply.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("webhook %s is away: %s", self._hook.id, str(error) or type(error).__name__)
            return _Outcome.AWAY

    def _judge(self, status: int) -> _Outcome:
        """What a status means (Standard Webhooks: 2xx is success, 410 ends it)."""
        match status:
            case 410:
                return _Outcome.GONE
            case 408 | 425 | 429:
                return _Outcome.AWAY
            case _ if 200 <= status < 300:
                return _Outcome.TAKEN
            case _:
                _log.info("webhook %s answered with status %d", self._hook.id, status)
                refused = 300 <= status < 500
                return _Outcome.REFUSED if refused else _Outcome.AWAY

    async def _give_up(self, target: Target) -> None:
        _log.warning("webhook %s refuses what is told of %s; given up", self._hook.id, target.path)
        state = self._states.target(target)
        if state is None:
            del self._pending[target]
        else:
            await self._note(target, _Mark.of(state))

    async def _note(self, target: Target, mark: _Mark) -> None:
        """It is told."""
        self._told[target] = mark
        state = self._states.target(target)
        if state is None or self._event(state) is None:
            self._pending.pop(target, None)
        await self._save({self._path(target): mark.to_bytes()}, "Note what a webhook was told")

    async def _save(self, files: Mapping[str, bytes | None], message: str) -> None:
        try:
            await write_files(self._database, BRANCH, files, message)
        except DatakitError as error:  # after a restart it is told again, with the same id
            _log.warning("what webhook %s was told is not recorded: %s", self._hook.id, error)

    def _path(self, target: Target) -> str:
        user, _, repo = target.project.partition("/")
        return f"{self._hook.id}/{encode_name(user, repo, target.kind_value, target.name)}"

    async def _load(self) -> bool:
        """Read what was told; whether this endpoint is known at all."""
        head = await self._database.head(BRANCH)
        if head is None:
            return False
        root = (await self._database.commit(head)).tree
        directory = await self._database.entry(root, self._hook.id)
        if directory is None or not directory.is_directory:
            return False
        for name, entry in (await self._database.tree(TreeId(directory.id))).items():
            parts = decode_name(name)
            if len(parts) != _PARTS or entry.is_directory:
                continue
            mark = _Mark.from_bytes(await self._database.blob(BlobId(entry.id)))
            if mark is not None:
                self._told[Target(f"{parts[0]}/{parts[1]}", parts[2], parts[3])] = mark
        return True


def _text(raw: str) -> str:
    return raw.encode(errors="surrogateescape").decode(errors="replace")


def _path_of(target: Target) -> str:
    return "/" + quote(target.path.encode(errors="surrogateescape"), safe="/")


def _print(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
