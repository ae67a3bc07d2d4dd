"""Writes that are carried out together: objects, then refs, acknowledged by one sync.

The order is what makes a crash harmless, and a commit invisible before it is durable:

1. objects are written to Git's own files, unsynced; nothing refers to them yet;
2. the refs are locked, and looked at once more;
3. objects and moves are recorded in the journal, which is synced: this is the acknowledgement;
4. the refs are moved in Git's own files, unsynced, and unlocked.

Each write stands by itself: one that has lost a race harms no other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pygit2

from datakit_core.errors import (
    DatakitError,
    HeadMoved,
    InvalidName,
    RepositoryError,
    StoreError,
)
from datakit_core.store.disk import Disk, write_failure
from datakit_core.store.loose import encode_loose, loose_name
from datakit_core.store.objects import CommitId, NewObject, ObjectId
from datakit_core.store.recovery import IDENTITY
from datakit_core.store.refmoves import PACKED_REFS, RefMoves
from datakit_core.store.refs import HEADS, RefFiles, branch_of, ref_of
from datakit_core.store.requests import RefUpdate, Write
from datakit_core.store.writeahead import WriteAhead

__all__ = ["GroupCommit"]

_log = logging.getLogger(__name__)

_MAX_BYTES = 8 << 20
"""Bytes of new objects after which a group is closed, so that nobody waits for long."""

_MAX_KNOWN = 100_000

_Targets = dict[str, CommitId | None]


class GroupCommit:
    """Writes to one repository, in groups.

    Attributes:
        repository: For looking at it; may be replaced by a fresh handle between groups.
    """

    def __init__(
        self, repository: pygit2.Repository, disk: Disk, journal: WriteAhead | None
    ) -> None:
        """Write to ``repository``.

        Args:
            repository: For looking at it.
            disk: For writing to it; all that is there has been synced.
            journal: Makes the writes durable; none leaves that to the kernel.
        """
        self.repository, self._disk, self._journal = repository, disk, journal
        self._files = RefFiles(Path(repository.path))
        self._refs = RefMoves(disk, IDENTITY)
        self._unmade = False
        self._known: _Targets = {
            ref_of(branch): head for branch, head in self._files.heads().items()
        }
        self._synced: set[ObjectId] = {head for head in self._known.values() if head is not None}

    def carry_out(self, writes: Sequence[Write]) -> list[DatakitError | None]:
        """Carry out the first writes, at least one; their outcomes, which are then durable."""
        if self._journal is not None and self._journal.failed:
            return [RepositoryError(
                f"the disk of {self.repository.path} has failed; see to it, then restart DataKit"
            )] * len(writes)  # fmt: skip
        group = _first_group(writes)
        outcomes = self._store_all(group)
        try:
            outcomes, targets = self._lock_all(group, outcomes)
            done = [
                write for write, outcome in zip(group, outcomes, strict=False) if outcome is None
            ]
            if done:
                self._finish(done, targets)
        except OSError as error:
            failure = self._failure(error)
            outcomes = [failure if outcome is None else outcome for outcome in outcomes]
        finally:
            self._refs.unlock()
        return outcomes

    def _store_all(self, group: Sequence[Write]) -> list[DatakitError | None]:
        """Step 1; a race that is lost already is found before anything is written."""
        targets: _Targets = {}
        return [self._attempt(write, targets, store=True) for write in group]

    def _lock_all(
        self, group: Sequence[Write], outcomes: Sequence[DatakitError | None]
    ) -> tuple[list[DatakitError | None], _Targets]:
        """Step 2, up to the first ref that somebody else has locked: who is before it goes on."""
        targets: _Targets = {}
        final: list[DatakitError | None] = []
        for write, outcome in zip(group, outcomes, strict=True):
            if outcome is None:
                try:
                    if not self._lock(write, patiently=not final):
                        break
                    outcome = self._attempt(write, targets, store=False)
                except (DatakitError, OSError) as error:
                    outcome = self._failure(error)
            final.append(outcome)
        return final, targets

    def _lock(self, write: Write, *, patiently: bool) -> bool:
        names = [update.name for update in write.updates]
        if any(update.new is None for update in write.updates):
            names.append(PACKED_REFS)
        for name in names:
            if patiently:
                self._refs.lock_patiently(name)
            elif not self._refs.lock(name):
                return False
        return True

    def _attempt(self, write: Write, targets: _Targets, *, store: bool) -> DatakitError | None:
        """Check a write against those before it; then it counts for those that follow."""
        try:
            for update in write.updates:
                self._check(update, targets)
            if store:
                for new in write.objects:
                    self._store(new)
        except (DatakitError, OSError, pygit2.GitError) as error:
            return self._failure(error)
        targets.update({update.name: update.new for update in write.updates})
        return None

    def _finish(self, done: Sequence[Write], targets: _Targets) -> None:
        """Steps 3 and 4."""
        record = Write(
            tuple({new.id: new for write in done for new in write.objects}.values()),
            tuple(update for write in done for update in write.updates),
        )
        if self._journal is None:
            self._move_all(record, targets)
            return
        if self._builds_on_others(record):
            self._disk.sync_all()
        self._forget_unmade(self._journal)
        self._journal.record(record)
        try:
            self._move_all(record, targets)
        except OSError:
            self._unmade = True
            self._forget_unmade(self._journal)  # or later, if there is no room for that
            raise
        self._remember(record)

    def _forget_unmade(self, journal: WriteAhead) -> None:
        """Empty the journal if it has moves that failed, before it has others from the same place.

        After a crash it would make the first of them, and then not what was acknowledged since.
        """
        if self._unmade:
            journal.checkpoint()
            self._unmade = False

    def _builds_on_others(self, record: Write) -> bool:
        """Whether a ref comes from, or goes to, what another program may not have synced."""
        if len(self._synced) > _MAX_KNOWN:
            self._synced.clear()
        self._synced.update(new.id for new in record.objects)
        known: _Targets = {}
        for update in record.updates:
            before = known.get(update.name, self._known.get(update.name))
            strange = update.new is not None and update.new not in self._synced
            if strange or (update.old is not None and update.old != before):
                return True
            known[update.name] = update.new
        return False

    def _move_all(self, record: Write, targets: _Targets) -> None:
        # Deletions first: one ref may be where the directory of another was.
        for name in sorted(targets, key=lambda name: targets[name] is not None):
            self._refs.move(name, targets[name])
        wanted = self._keeps_reflogs()
        for update in record.updates:
            if update.new is not None:
                self._refs.log(update.name, update.old, update.new, create=wanted)

    def _remember(self, record: Write) -> None:
        for update in record.updates:
            if update.new is None:
                self._known.pop(update.name, None)
            else:
                self._known[update.name] = update.new
                self._synced.add(update.new)

    def _store(self, new: NewObject) -> None:
        digest = hashlib.sha1(
            b"%s %d\0" % (new.kind.value.encode(), len(new.data)), usedforsecurity=False
        )
        digest.update(new.data)
        if digest.hexdigest() != new.id:
            raise StoreError(f"object {new.id} is {digest.hexdigest()}: it was named wrongly")
        # Though a pack may have it: if nothing refers to it, the pack may be about to lose it.
        if not self._disk.touch(loose_name(new.id)):
            self._disk.replace(loose_name(new.id), encode_loose(new))

    def _check(self, update: RefUpdate, targets: _Targets) -> None:
        name = update.name
        found = targets[name] if name in targets else self._target(name)
        if found != update.old:
            raise HeadMoved(branch_of(name), update.old, found)
        if update.old is None and name.startswith(HEADS):
            branch = branch_of(name)
            other = self._files.obstacle(branch) or _obstacle(name, targets)
            if other is not None:
                raise InvalidName(f"branch {branch} cannot exist beside {other}")

    def _target(self, name: str) -> CommitId | None:
        try:
            target = self.repository.lookup_reference(name).target
        except KeyError:
            return None
        if isinstance(target, str):
            raise InvalidName(f"{name} is a symbolic ref; commit to {target} instead")
        return CommitId(ObjectId(str(target)))

    def _keeps_reflogs(self) -> bool:
        try:
            wanted = self.repository.config["core.logallrefupdates"]
        except KeyError:
            return False
        return (wanted or "true").lower() in ("true", "always")

    def _failure(self, error: Exception) -> DatakitError:
        if isinstance(error, DatakitError):
            return error
        failure = write_failure(self.repository.path, error)
        _log.warning("cannot write to %s: %s", self.repository.path, error)
        return failure


def _first_group(writes: Sequence[Write]) -> Sequence[Write]:
    """The writes to carry out together: few enough, and none after one that deletes a ref.

    What a deletion makes room for cannot be seen before it is on disk.
    """
    size = 0
    for number, write in enumerate(writes, 1):
        size += sum(len(new.data) for new in write.objects)
        if size > _MAX_BYTES or any(update.new is None for update in write.updates):
            return writes[:number]
    return writes


def _obstacle(name: str, targets: _Targets) -> str | None:
    """A ref among ``targets`` that cannot be beside ``name``."""
    for other, target in targets.items():
        if target is not None and (other.startswith(f"{name}/") or name.startswith(f"{other}/")):
            return branch_of(other)
    return None
