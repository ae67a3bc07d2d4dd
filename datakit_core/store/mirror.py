"""Keeping a copy of every branch in another repository, by Git itself.

The mirror is level-triggered: whatever has changed in the meantime, one comparison of the heads
here with those there says what to push, and only the newest head of a branch is ever pushed. So
a mirror that was away for a week, or a server that was killed in the midst of a push, needs
nothing but the next comparison; there is no queue that could be lost or reordered.

Nothing is destroyed that is not here: a branch there that holds a commit which this repository
does not have was written by somebody else, and is left alone with a warning. And only branches
that were pushed from here are ever deleted there; their names are kept in the repository.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from datakit_core.errors import ConfigError, InvalidArgument, StoreError
from datakit_core.store.git import (
    GitFailed,
    check_url,
    run_git,
    split_credentials,
    without_credentials,
)
from datakit_core.store.objects import CommitId, ObjectId, ObjectKind
from datakit_core.store.refs import branch_of, ref_of
from datakit_core.store.store import Store

__all__ = ["MIRRORED", "Mirror", "MirrorStatus", "Pace", "mirroring"]

_log = logging.getLogger(__name__)

MIRRORED = "refs/datakit/mirrored/"
"""Where the names of pushed branches are kept: a blob for each URL, by its digest."""

_AT_ONCE = 500
"""Branches in one push; their names and ids travel on a command line, which has an end."""

_REJECTED = "[remote rejected]"
_UNPACKER = "unpacker error"
"""What Git says of a branch that the other side does not want, and if it wants none (its disk is
full, say); see git-push(1). Anything else may go better the next time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a mirror is, in seconds.

    Attributes:
        batch: From a change to the push, so that several changes are pushed at once.
        first: From the first failure to the next attempt; doubles with each further one.
        longest: The most that it doubles to.
        compare: After which everything is compared again, whatever is known, and what the other
            side did not take is offered again.
        timeout: After which a Git command is given up.
    """

    batch: float = 0.1
    first: float = 1.0
    longest: float = 60.0
    compare: float = 60.0
    timeout: float = 600.0


@dataclass(slots=True)
class MirrorStatus:
    """Plain numbers about a mirror; they only grow, but for the last three.

    Attributes:
        pushes: Git pushes that went through.
        failures: Attempts that failed and were, or will be, repeated.
        updated: Branches that were made or moved there.
        deleted: Branches that were deleted there.
        behind: Branches that differed at the last comparison and are not yet pushed.
        refused: Branches that were left alone: there is somebody else's work, or the other side
            did not take ours.
        behind_since: When the oldest change came that is not there yet, by the monotonic
            clock; none if the mirror is up to date.
    """

    pushes: int = 0
    failures: int = 0
    updated: int = 0
    deleted: int = 0
    behind: int = 0
    refused: frozenset[str] = field(default_factory=frozenset)
    behind_since: float | None = None

    def lag(self) -> float:
        """Seconds by which the mirror is behind; 0 when it is up to date."""
        if self.behind_since is None:
            return 0.0
        return time.monotonic() - self.behind_since


class _Move(NamedTuple):
    """A branch there, where it is, and where it shall be; none stands for no branch."""

    branch: str
    old: CommitId | None
    new: CommitId | None


@asynccontextmanager
async def mirroring(store: Store, url: str, pace: Pace | None = None) -> AsyncIterator[Mirror]:
    """Mirror every branch of ``store`` to ``url`` until the context is left.

    Args:
        store: An open database.
        url: A URL with a scheme that fetching allows, or an absolute path; the repository there
            must exist. User and password in it are never logged.
        pace: How patient to be.

    Raises:
        ConfigError: Git could not be given this URL.
    """
    mirror = Mirror(store, url, pace)
    tasks = asyncio.TaskGroup()  # by hand, as it would wrap what goes wrong in the caller's block
    await tasks.__aenter__()
    running = tasks.create_task(mirror.run())
    try:
        yield mirror
    finally:
        running.cancel()
        await tasks.__aexit__(None, None, None)


class Mirror:
    """Pushes the branches of a store to one URL.

    Attributes:
        status: How it goes.
        place: The URL without user and password.
        in_step: Set while everything that happened here has been pushed, as far as the other
            side takes it.
    """

    def __init__(self, store: Store, url: str, pace: Pace | None = None) -> None:
        """Know nothing yet of the other side; :meth:`run` does the work."""
        try:
            check_url(url)
        except InvalidArgument as error:
            raise ConfigError(str(error), "--auto-push") from error
        self.status = MirrorStatus()
        self.in_step = asyncio.Event()
        self.place = without_credentials(url)
        self._store = store
        self._url, self._variables = split_credentials(url)
        self._pace = pace or Pace()
        digest = hashlib.sha256(self._url.encode(errors="surrogateescape")).hexdigest()[:16]
        self._names_ref = f"{MIRRORED}{digest}"
        self._there: dict[str, CommitId] | None = None
        self._ours: set[str] = set()
        self._rejected: dict[str, CommitId | None] = {}
        self._changed = asyncio.Event()
        self._next_since: float | None = None

    async def run(self) -> None:
        """Keep the other side in step until cancelled; failures are logged and repeated."""
        self._note()
        subscription = self._store.subscribe_branches(lambda _: self._note())
        try:
            await self._follow()
        finally:
            subscription.close()

    def _note(self) -> None:
        """Something has changed, or may have."""
        now = time.monotonic()
        if self._next_since is None:
            self._next_since = now
        if self.status.behind_since is None:
            self.status.behind_since = now
        self._changed.set()
        self.in_step.clear()

    async def _follow(self) -> None:
        pause = self._pace.first
        while True:
            await self._until_due()
            self._begin()
            try:
                await self._sync()
            except (StoreError, GitFailed) as error:
                _log.warning("cannot push to %s, trying again: %s", self.place, error)
            except Exception:  # noqa: BLE001 - the boundary of a task that must go on
                _log.exception("pushing to %s failed, trying again", self.place)
            else:
                if pause > self._pace.first:
                    _log.info("%s is up to date after %.1f s", self.place, self.status.lag())
                pause = self._pace.first
                self.status.behind_since = self._next_since
                if self._next_since is None:
                    self.in_step.set()
                continue
            self._fail()
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, self._pace.longest)

    async def _until_due(self) -> None:
        try:
            async with asyncio.timeout(self._pace.compare):
                await self._changed.wait()
        except TimeoutError:
            self._there = None
            self._rejected.clear()
        await asyncio.sleep(self._pace.batch)

    def _begin(self) -> None:
        self._changed.clear()
        self._next_since = None

    def _fail(self) -> None:
        self.status.failures += 1
        self._there = None
        self._note()

    async def _sync(self) -> None:
        """Compare, and push what differs; what came before this call is there afterwards."""
        try:
            async with asyncio.timeout(self._pace.timeout):
                await self._push_differences()
        except TimeoutError:
            raise StoreError(f"it took over {self._pace.timeout:.0f} s") from None

    async def _push_differences(self) -> None:
        if self._there is None:
            self._there = await self._list()
            self._ours = await self._read_names()
        here = dict(self._store.heads())
        moves = self._differences(here, self._there)
        allowed = [move for move in moves if self._is_safe(move)]
        self._refuse(set(moves) - set(allowed))
        self.status.behind = len(moves)
        equal = {branch for branch, head in here.items() if self._there.get(branch) == head}
        await self._write_names(self._ours | equal | {move.branch for move in allowed})
        # First what goes: there cannot be both x and x/y.
        for deleting in (True, False):
            await self._push([move for move in allowed if (move.new is None) is deleting])
        await self._write_names(self._ours & self._there.keys())
        self.status.behind = len(self._differences(here, self._there))

    def _differences(
        self, here: Mapping[str, CommitId], there: Mapping[str, CommitId]
    ) -> list[_Move]:
        moved = [
            _Move(branch, there.get(branch), head)
            for branch, head in here.items()
            if there.get(branch) != head
        ]
        gone = [
            _Move(branch, head, None)
            for branch, head in there.items()
            if branch not in here and branch in self._ours
        ]
        return gone + moved

    def _is_safe(self, move: _Move) -> bool:
        """Whether nothing is lost by it, and the other side has not said no to it."""
        if move.branch in self._rejected and self._rejected[move.branch] == move.new:
            return False
        return move.old is None or self._store.kind(move.old) is ObjectKind.COMMIT

    def _refuse(self, moves: Iterable[_Move]) -> None:
        refused = frozenset(move.branch for move in moves)
        for branch in sorted(refused - self.status.refused - self._rejected.keys()):
            _log.warning(
                "branch %r at %s has a commit that is not here, so it is left alone; "
                "fetch that commit into this database, or delete the branch there",
                branch, self.place,
            )  # fmt: skip
        self.status.refused = refused

    async def _push(self, moves: Sequence[_Move]) -> None:
        for start in range(0, len(moves), _AT_ONCE):
            await self._push_batch(moves[start : start + _AT_ONCE])

    async def _push_batch(self, moves: Sequence[_Move]) -> None:
        leases = [f"--force-with-lease={ref_of(name)}:{old or ''}" for name, old, _ in moves]
        refs = [f"{new or ''}:{ref_of(name)}" for name, _, new in moves]
        try:
            output = await self._git("push", "--porcelain", *leases, "--", self._url, *refs)
        except GitFailed as error:
            if "\n!\t" not in f"\n{error.output}":
                raise
            output = error.output
        self._take(output, {move.branch: move for move in moves})

    def _take(self, output: str, moves: Mapping[str, _Move]) -> None:
        """Note what became of each branch, as ``--porcelain`` tells it (git-push(1))."""
        assert self._there is not None, "it was compared"
        told = [line.split("\t", 2) for line in output.split("\n") if line.count("\t") >= 2]
        failed = ""
        for flag, refs, summary in told:
            move = moves[branch_of(refs.partition(":")[2])]
            if flag != "!":
                self._moved(move)
            elif summary.startswith(_REJECTED) and _UNPACKER not in summary:
                self._reject(move, summary)
            else:
                failed = failed or f"branch {move.branch!r}: {summary!r}"
        self.status.pushes += 1
        if failed:
            raise StoreError(failed)

    def _reject(self, move: _Move, summary: str) -> None:
        """The other side does not want this branch; the others need not wait for it."""
        self._rejected[move.branch] = move.new
        self.status.refused |= {move.branch}
        _log.warning("%s does not take branch %r: %r", self.place, move.branch, summary)

    def _moved(self, move: _Move) -> None:
        assert self._there is not None, "it was compared"
        self._rejected.pop(move.branch, None)
        if move.new is None:
            del self._there[move.branch]
            self.status.deleted += 1
        else:
            self._there[move.branch] = move.new
            self.status.updated += 1

    async def _list(self) -> dict[str, CommitId]:
        """The branches there."""
        listed = await self._git("ls-remote", "--heads", "--", self._url)
        pairs = (line.split("\t", 1) for line in listed.split("\n") if line)
        return {branch_of(ref): CommitId(ObjectId(head)) for head, ref in pairs}

    async def _read_names(self) -> set[str]:
        """The branches that were pushed there, by this process or by one before it."""
        blob = await self._git("for-each-ref", "--format=%(objectname)", self._names_ref)
        if not blob:  # nothing was
            return set()
        names = await self._git("cat-file", "blob", blob.strip())
        return set(filter(None, names.split("\n")))

    async def _write_names(self, names: set[str]) -> None:
        """Remember ``names``; before a push, as a branch that is there might not be known else."""
        if names == self._ours:
            return
        text = "".join(f"{name}\n" for name in sorted(names)).encode(errors="surrogateescape")
        blob = await self._git("hash-object", "-w", "--stdin", given=text)
        await self._git("update-ref", self._names_ref, blob.strip())
        self._ours = names

    async def _git(self, *arguments: str, given: bytes | None = None) -> str:
        return await run_git(self._store.path, *arguments, given=given, variables=self._variables)
