"""Keeping one recipient informed of how targets stand: each piece of news until it is taken.

Level-triggered: what is told is how a target stands when it is sent, so that a recipient that was
away hears the newest state of each target and not all that have been. What was told last lies on
the branch ``webhooks`` (``ID/TARGET``), so that a restart neither repeats nor forgets anything but
what was under way. What waits is at most one message for each target. A recipient is tried again
ever more slowly while it is away, up to once an hour.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from datakit_ci.canonical import canonical_json
from datakit_ci.filing import write_files
from datakit_ci.ledger import read_target
from datakit_ci.state import TargetState
from datakit_ci.target import Target, decode_name, encode_name
from datakit_core.client.api import BlobId, Database, TreeId
from datakit_core.errors import DatakitError

__all__ = ["BRANCH", "Courier", "Mark", "Outcome", "Recipient", "States", "pause_after"]

_log = logging.getLogger(__name__)

BRANCH: Final = "webhooks"

_SLOWEST = 3600.0
_MOST_REFUSALS = 5
"""Attempts at a message that a recipient refuses as such; then it is given up."""

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


class Outcome(Enum):
    """What a recipient made of a message."""

    TAKEN = "taken"
    REFUSED = "refused"
    AWAY = "away"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Mark:
    """How a target stood when it was told of."""

    head: str
    status: str

    @classmethod
    def of(cls, state: TargetState) -> Mark:
        """How it stands now."""
        return cls(state.head or "", state.status.value)

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return canonical_json({"version": 1, "head": self.head, "status": self.status})

    @classmethod
    def from_bytes(cls, content: bytes) -> Mark | None:
        """Read a file; none if it is damaged, which costs one repeated message."""
        try:
            match json.loads(content):
                case {"version": 1, "head": str(head), "status": str(status)}:
                    return cls(head, status)
                case _:
                    return None
        except ValueError:
            return None


def pause_after(attempts: int) -> float:
    """Seconds until a recipient is tried again that was away so many times in a row."""
    return float(min(_SLOWEST, 2.0 ** min(attempts, 16)) * random.uniform(0.75, 1.25))


class Recipient(Protocol):
    """Somebody who is told."""

    @property
    def id(self) -> str:
        """Names it in the database, without telling where it is."""
        ...

    @property
    def title(self) -> str:
        """Names it in DataKit's own log, without giving secrets away."""
        ...

    async def prepare(self) -> None:
        """Read its secrets; raises ``ConfigError`` if that cannot be."""
        ...

    def is_news(self, state: TargetState, told: Mark | None) -> bool:
        """Whether it wants to be told this, having been told that."""
        ...

    async def tell(self, state: TargetState, told: Mark | None) -> Outcome:
        """Tell it; raises nothing when it is away."""
        ...


class Courier:
    """Keeps one recipient informed."""

    def __init__(self, states: States, database: Database, recipient: Recipient) -> None:
        """Tell ``recipient`` of ``states``; ``database`` remembers what was told."""
        self._states = states
        self._database = database
        self._recipient = recipient
        self._told: dict[Target, Mark] = {}
        self._pending: dict[Target, None] = {}
        self._wake = asyncio.Event()

    async def run(self, pause: Callable[[int], float]) -> None:
        """Work until cancelled, or until the recipient says that it is gone for ever."""
        await self._recipient.prepare()
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
        files: dict[str, bytes | None] = {f"{self._recipient.id}/url-digest": b"begun\n"}
        for target in sorted(targets):
            recorded = await read_target(self._database, target)
            if recorded is not None:
                self._told[target] = mark = Mark.of(recorded)
                files[self._path(target)] = mark.to_bytes()
        await self._save(files, "Begin to tell somebody")

    async def _deliver(self, pause: Callable[[int], float]) -> None:
        away = refused = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                target = next(iter(self._pending))
                match await self._tell(target):
                    case Outcome.TAKEN:
                        away = refused = 0
                        continue
                    case Outcome.GONE:
                        _log.warning("%s is gone; nobody is told there", self._recipient.title)
                        return
                    case Outcome.REFUSED if (refused := refused + 1) >= _MOST_REFUSALS:
                        refused = 0
                        await self._give_up(target)
                        continue
                    case _:
                        away += 1
                await asyncio.sleep(pause(away))

    async def _tell(self, target: Target) -> Outcome:
        """Say how a target stands, if that is news; nothing is pending of it when it was taken."""
        state = self._states.target(target)
        if state is None or not self._wants(state):
            del self._pending[target]
            if state is None and self._told.pop(target, None) is not None:
                await self._save({self._path(target): None}, "Forget a target")
            return Outcome.TAKEN
        mark = Mark.of(state)
        outcome = await self._recipient.tell(state, self._told.get(target))
        if outcome is Outcome.TAKEN:
            await self._note(target, mark)
        return outcome

    def _wants(self, state: TargetState) -> bool:
        return self._recipient.is_news(state, self._told.get(state.target))

    async def _give_up(self, target: Target) -> None:
        _log.warning("%s refuses what is told of %s; given up", self._recipient.title, target.path)
        state = self._states.target(target)
        if state is None:
            del self._pending[target]
        else:
            await self._note(target, Mark.of(state))

    async def _note(self, target: Target, mark: Mark) -> None:
        """It is told."""
        self._told[target] = mark
        state = self._states.target(target)
        if state is None or not self._wants(state):
            self._pending.pop(target, None)
        await self._save({self._path(target): mark.to_bytes()}, "Note what somebody was told")

    async def _save(self, files: Mapping[str, bytes | None], message: str) -> None:
        try:
            await write_files(self._database, BRANCH, files, message)
        except DatakitError as error:  # after a restart it is told again, with the same id
            _log.warning("what %s was told is not recorded: %s", self._recipient.title, error)

    def _path(self, target: Target) -> str:
        user, _, repo = target.project.partition("/")
        return f"{self._recipient.id}/{encode_name(user, repo, target.kind_value, target.name)}"

    async def _load(self) -> bool:
        """Read what was told; whether this recipient is known at all."""
        head = await self._database.head(BRANCH)
        if head is None:
            return False
        root = (await self._database.commit(head)).tree
        directory = await self._database.entry(root, self._recipient.id)
        if directory is None or not directory.is_directory:
            return False
        for name, entry in (await self._database.tree(TreeId(directory.id))).items():
            parts = decode_name(name)
            if len(parts) != _PARTS or entry.is_directory:
                continue
            mark = Mark.from_bytes(await self._database.blob(BlobId(entry.id)))
            if mark is not None:
                self._told[Target(f"{parts[0]}/{parts[1]}", parts[2], parts[3])] = mark
        return True
