"""One repository: what is known of both sides, and what is still to be looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from datakit_ci.bridges.github import reconcile
from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_ci.bridges.github.hub import Hub, Refused, Unavailable
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.reconcile import AddComment, EditComment, Push, SetTitle
from datakit_ci.bridges.github.records import Record, Records, write
from datakit_ci.bridges.github.resources import (
    Head,
    Key,
    Pull,
    PullKey,
    RefKey,
    Snapshot,
    Value,
)
from datakit_ci.bridges.github.scope import NOTHING, WHOLE, Scope, overlay
from datakit_core.client.api import CommitId, Database, ObjectId
from datakit_core.errors import DatakitError, NotFastForward, UnknownObject

__all__ = ["Sync", "agreed_branch"]

_log = logging.getLogger(__name__)

_FULL_EVERY = 10
"""Of so many periodic looks, one is whole though the cheap look saw nothing new."""

_FIRST_RETRY, _LAST_RETRY = 2.0, 300.0
"""Seconds until what failed is tried again; doubled each time."""

_MOST_TRIES = 20
"""Lost races for a commit in a row, after which the sync begins anew."""

_UNDER_WAY = b"under way\n"
"""What is in a mark while it is heeded: whoever sets it again, then, changes it."""


def agreed_branch(branch: str) -> str:
    """The branch that keeps what GitHub said when it and ``branch`` last agreed."""
    return f"{branch}-agreed"


class Sync:
    """Keeps one repository in step; does one thing after the other."""

    def __init__(
        self,
        project: str,
        database: Database,
        hub: Hub,
        branch: str,
        may: Capabilities,
        resync: float,
        meter: Meter,
        *,
        fetch: bool,
    ) -> None:
        self._project = project
        self._database = database
        self._hub = hub
        self._branch = branch
        self._may = may
        self._resync = resync
        self._meter = meter
        self._fetch = fetch
        self._local = Records(database, branch, project)
        self._agreed = Records(database, agreed_branch(branch), project)
        self._refused: dict[Key, Push] = {}
        self._wanted = WHOLE
        self._news = asyncio.Event()
        self._news.set()
        self._idle_looks = 0

    def ask(self, scope: Scope) -> None:
        """Look at a part of it soon."""
        self._wanted |= scope
        self._news.set()

    def database_changed(self) -> None:
        """See whether the database says something that GitHub has to be told."""
        self._news.set()

    async def run(self) -> None:
        """Bring it in step now, after news, and from time to time."""
        retry = _FIRST_RETRY
        while True:
            self._news.clear()
            if await self._try():
                retry = _FIRST_RETRY
                if not await self._pause(self._resync):
                    self._wanted |= await self._periodic()
            elif not await self._pause(retry):
                retry = min(_LAST_RETRY, 2 * retry)

    async def _try(self) -> bool:
        """Do what is wanted; tells whether nothing is left to do."""
        wanted, self._wanted = self._wanted, NOTHING
        try:
            await self.once(wanted)
        except DatakitError as error:  # a database that is away is waited for by the next reading
            _log.error("cannot bring %s in step: %s", self._project, error)
            self._meter.synced("failed")
            self._wanted |= wanted
            return False
        return not self._wanted

    async def _pause(self, seconds: float) -> bool:
        """Wait for news, but not longer than this; tells whether there is any."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._news.wait()
        return False

    async def _periodic(self) -> Scope:
        """What to look at though nobody has told us of anything."""
        self._idle_looks += 1
        if self._idle_looks % _FULL_EVERY == 0:
            return WHOLE
        with suppress(Unavailable, Refused):
            return NOTHING if await self._hub.is_as_before(self._project) else WHOLE
        return WHOLE

    async def once(self, scope: Scope) -> bool:
        """Look, push, commit; tells whether a commit was made."""
        local, base = await self._heed(), await self._agreed.read()
        scope |= local.asked
        self._refused = {k: push for k, push in self._refused.items() if k in local.snapshot}
        scope |= _careful(self._pushes(base.snapshot, base.snapshot, local.snapshot))
        seen = await self._hub.look(self._project, scope) if scope else {}
        remote = overlay(base.snapshot, seen, scope)
        if self._fetch:
            remote = await self._with_commits(base.snapshot, remote)
        for _ in range(_MOST_TRIES):
            remote, settled = await self._push(base.snapshot, remote, local.snapshot)
            # A mark that was set, or set again, while we looked asks for a look of its own.
            marks = {path for path, said in local.marks.items() if said == _UNDER_WAY}
            changes = reconcile.edits(
                local.snapshot, reconcile.merged(base.snapshot, remote, settled, self._may)
            )
            try:
                changed = await self._commit(local, changes, marks)
            except NotFastForward:
                local = await self._local.read()
                continue
            await self._agree(base, remote)
            self._meter.synced("changed" if changed else "same")
            return changed
        raise Unavailable(f"others commit to {self._branch} all the time")

    async def _heed(self) -> Record:
        """Read what the database says, once all its marks say that they are being heeded.

        Nobody could tell otherwise that a client has set a mark again that was still there: the
        same content makes the same tree. If the look fails, the marks stay, and ask for the next.
        """
        for _ in range(_MOST_TRIES):
            local = await self._local.read()
            fresh = [path for path, said in local.marks.items() if said != _UNDER_WAY]
            if not fresh:
                return local
            with suppress(NotFastForward):
                async with self._database.transaction(self._branch) as transaction:
                    for path in fresh:
                        await transaction.write(f"{self._project}/{path}", _UNDER_WAY)
                    await transaction.commit_if(local.head, f"{self._project}: looking, as asked")
        raise Unavailable(f"others commit to {self._branch} all the time")

    def _pushes(self, base: Snapshot, remote: Snapshot, local: Snapshot) -> list[Push]:
        """What to tell GitHub, without what it has refused before."""
        wanted = reconcile.pushes(base, remote, local, self._may)
        return [push for push in wanted if self._refused.get(push.key) != push]

    async def _push(
        self, base: Snapshot, remote: Snapshot, local: Snapshot
    ) -> tuple[Snapshot, Snapshot]:
        """Tell GitHub; what it and the database then say."""
        for push in self._pushes(base, remote, local):
            kind = type(push).__name__
            try:
                key, value = await self._hub.push(self._project, push)
            except Refused as error:
                _log.error("%s: GitHub refuses %s: %s", self._project, kind, error)
                self._meter.pushed(kind, "refused")
                self._refused[push.key] = push
                continue
            self._meter.pushed(kind, "done")
            self._refused.pop(push.key, None)
            remote = {**remote, key: value}
            local = {**{k: v for k, v in local.items() if k != push.key}, key: value}
        return remote, local

    async def _commit(
        self, local: Record, changes: dict[Key, Value | None], marks: Collection[str]
    ) -> bool:
        """Write to the database what has changed, and remove the marks that were heeded."""
        if not changes and not marks:
            return False
        async with self._database.transaction(self._branch) as transaction:
            await write(transaction, self._project, changes, marks)
            await transaction.commit_if(local.head, f"{self._project}: {_describe(changes)}")
        return True

    async def _agree(self, base: Record, remote: Snapshot) -> None:
        """Keep what GitHub says."""
        changes = reconcile.edits(base.snapshot, reconcile.pruned(remote))
        if not changes:
            return
        async with self._database.transaction(agreed_branch(self._branch)) as transaction:
            await write(transaction, self._project, changes)
            await transaction.commit(f"{self._project}: {_describe(changes)}")

    async def _with_commits(self, base: Snapshot, remote: Snapshot) -> Snapshot:
        """Bring the commits that heads name; a head whose commit cannot be had stays as it was."""
        found = dict(remote)
        for key, ref, commit in _moved(base, remote):
            try:
                found[key] = _at(found[key], await self._fetched(ref, commit))
            except (DatakitError, OSError) as error:
                _log.error("cannot fetch %s of %s: %s", ref, self._project, error)
                self._wanted |= _only(key)
                if key in base:
                    found[key] = base[key]
                else:
                    del found[key]
        return found

    async def _fetched(self, ref: str, commit: str) -> str:
        """Have a commit in the database; or, if the ref has moved on, the one that it is at."""
        with suppress(UnknownObject):
            await self._database.commit(CommitId(ObjectId(commit)))
            return commit
        return await self._database.fetch(await self._hub.clone_url(self._project), ref)


def _careful(pushes: Iterable[Push]) -> Scope:
    """What to look at before these are pushed: what somebody may have changed on GitHub."""
    numbers = {
        push.key.number for push in pushes if isinstance(push, SetTitle | EditComment | AddComment)
    }
    return Scope(pulls=frozenset(numbers))


def _moved(base: Snapshot, remote: Snapshot) -> list[tuple[Key, str, str]]:
    """Heads that are elsewhere than they were: what they are of, the ref, and the commit."""
    found: list[tuple[Key, str, str]] = []
    for key, value in remote.items():
        before = base.get(key)
        match key, value:
            case PullKey(number), Pull(head):
                if not isinstance(before, Pull) or before.head != head:
                    found.append((key, f"refs/pull/{number}/head", head))
            case RefKey(kind, name), Head(commit):
                if before != value:
                    found.append((key, f"refs/{kind}/{name}", commit))
            case _:
                pass
    return found


def _at(value: Value, commit: str) -> Value:
    match value:
        case Pull():
            return replace(value, head=commit)
        case _:
            return Head(commit)


def _only(key: Key) -> Scope:
    match key:
        case PullKey(number):
            return Scope(pulls=frozenset({number}))
        case RefKey():
            return Scope(refs=frozenset({key}))
        case _:
            return NOTHING


def _describe(changes: dict[Key, Value | None]) -> str:
    """What changed, in one line."""
    names = [_name(key) for key in changes]
    if len(names) > 3:
        return f"{len(names)} changes"
    return ", ".join(names) or "looked at, as asked"


def _name(key: Key) -> str:
    match key:
        case PullKey(number):
            return f"pull request {number}"
        case RefKey(kind, name):
            return f"{'branch' if kind == 'heads' else 'tag'} {name}"
        case _:
            return type(key).__name__.removesuffix("Key").lower()
