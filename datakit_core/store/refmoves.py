"""Moving refs in Git's own files, without syncing them.

Git's rules are kept (gitrepository-layout(5)): who holds ``NAME.lock`` may replace the file
``NAME``; a ref that is packed is deleted by rewriting ``packed-refs`` under its own lock.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress

from datakit_core.errors import InvalidName, RepositoryError
from datakit_core.store.disk import Disk
from datakit_core.store.journal import Torn
from datakit_core.store.objects import CommitId, ObjectId

__all__ = ["PACKED_REFS", "RefMoves"]

_LOCK_PATIENCE = 1.0
"""Seconds to wait for another Git process that is moving the same ref."""

_PACKING_PATIENCE = 10.0
"""Seconds to wait for Git to have packed all refs, and synced them."""

_LOCK_PAUSE = 0.01
PACKED_REFS = "packed-refs"
"""The file of the packed refs; its lock is needed to delete a ref."""

_NULL = "0" * 40
_ID = re.compile(rb"([0-9a-f]{40})\s*\Z")


class RefMoves:
    """The refs of one repository, for the process that moves them."""

    def __init__(self, disk: Disk, identity: str) -> None:
        """Work on ``disk``; ``identity`` is the ``name <address>`` that reflogs show."""
        self._disk, self._identity = disk, identity
        self._locked: set[str] = set()

    def read(self, name: str) -> CommitId | Torn | None:
        """Where a ref is; raises ``InvalidName`` for a symbolic ref."""
        content = self._disk.read(name)
        if content is None:
            return self._packed(name)
        match = _ID.match(content)
        if match is not None:
            return CommitId(ObjectId(match[1].decode()))
        if content.startswith(b"ref:"):
            target = content[4:].strip().decode(errors="replace")
            raise InvalidName(f"{name} is a symbolic ref; commit to {target} instead")
        return Torn.TORN

    def lock(self, name: str) -> bool:
        """Keep all others from moving a ref; false if somebody else does."""
        if name not in self._locked:
            if not self._disk.lock(name):
                return False
            self._locked.add(name)
        return True

    def lock_patiently(self, name: str) -> None:
        """Lock a ref, and wait for a moment if somebody else has it.

        Raises:
            RepositoryError: It stays locked.
        """
        patience = _PACKING_PATIENCE if name == PACKED_REFS else _LOCK_PATIENCE
        deadline = time.monotonic() + patience
        while not self.lock(name):
            if time.monotonic() > deadline:
                raise RepositoryError(
                    f"{name}.lock stays; if no other Git process is running, remove it"
                )
            time.sleep(_LOCK_PAUSE)

    def unlock(self) -> None:
        """Give up all locks."""
        while self._locked:
            self._disk.unlock(self._locked.pop())

    def move(self, name: str, new: CommitId | None) -> None:
        """Set or delete a ref that is locked."""
        if new is None:
            self._unpack(name)
            self._disk.remove(name)
            self._disk.remove(f"logs/{name}")
        else:
            self._disk.replace(name, f"{new}\n".encode())

    def log(self, name: str, old: CommitId | None, new: CommitId, *, create: bool) -> None:
        """Note a move in the ref's reflog, if there is one or shall be one (git-reflog(1))."""
        reflog = f"logs/{name}"
        if create or self._disk.read(reflog) is not None:
            line = f"{old or _NULL} {new} {self._identity} {int(time.time())} +0000\t\n"
            with suppress(OSError):  # the log of a branch that is gone may be in the way
                self._disk.append(reflog, line.encode())

    def _packed(self, name: str) -> CommitId | None:
        packed = self._disk.read(PACKED_REFS)
        wanted = re.compile(rb"^([0-9a-f]{40}) " + re.escape(name.encode()) + rb"$", re.MULTILINE)
        match = wanted.search(packed or b"")
        return None if match is None else CommitId(ObjectId(match[1].decode()))

    def _unpack(self, name: str) -> None:
        """Take a ref out of ``packed-refs``, which is synced: no journal could restore it."""
        if self._packed(name) is None:
            return
        self.lock_patiently(PACKED_REFS)
        content = self._disk.read(PACKED_REFS) or b""
        # A line that begins with ^ belongs to the one before it.
        line = rb"^[0-9a-f]{40} " + re.escape(name.encode()) + rb"\n(\^.*\n)?"
        self._disk.replace(PACKED_REFS, re.sub(line, b"", content, flags=re.MULTILINE), synced=True)
