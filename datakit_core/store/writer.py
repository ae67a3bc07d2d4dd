"""Writing objects and moving refs: one writer for each store.

pygit2 holds the interpreter's lock while it writes and while it waits for the disk, so a thread
would not protect the event loop: the default writer is a process
(:mod:`datakit_core.store.process`). :class:`InlineWriter` runs the same code in place, for
commands that do one thing and leave, and for tests.

What is acknowledged is on disk: every object and every ref is synced before the answer. Requests
that have arrived together are handed to :meth:`Applier.apply` together, in order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import pygit2
from pygit2.enums import ObjectType

from datakit_core.errors import (
    DatakitError,
    HeadMoved,
    InvalidName,
    RepositoryError,
    StoreError,
    UnknownObject,
)
from datakit_core.store.directory import import_directory
from datakit_core.store.objects import (
    CommitId,
    NewObject,
    ObjectId,
    ObjectKind,
)
from datakit_core.store.refs import HEADS, RefFiles, branch_of
from datakit_core.store.repository import open_repository
from datakit_core.store.requests import (
    ImportDirectory,
    IsAncestor,
    MergeBase,
    RefUpdate,
    Request,
    Value,
    Write,
)

__all__ = ["Applier", "InlineWriter", "Writer", "WriterFactory"]

_log = logging.getLogger(__name__)

_TYPES = {
    ObjectKind.BLOB: ObjectType.BLOB,
    ObjectKind.TREE: ObjectType.TREE,
    ObjectKind.COMMIT: ObjectType.COMMIT,
}

_IDENTITY = ("datakit", "datakit@mobyproject.org")

_LOCK_PATIENCE = 1.0
"""Seconds to wait for another Git process that is moving the same ref."""

_LOCK_PAUSE = 0.01

_UNEXPLAINED = 5
"""Failures to lock a ref, with no lock to be seen, after which the reason is another one."""


class Writer(Protocol):
    """Where a store's requests go.

    Requests are carried out in the order of the calls. A caller that is cancelled while it waits
    does not undo a request that has been submitted.
    """

    async def submit(self, request: Request) -> Value:
        """Carry out ``request``; returns when the outcome is on disk.

        Raises:
            HeadMoved: A ref of a ``Write`` is not where it was expected; none was moved.
            UnknownObject: A commit of a question is not there.
            RepositoryError: The disk, or the writer, failed; the outcome is unknown.
        """
        ...

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        ...


WriterFactory: TypeAlias = Callable[[Path], Writer]
"""Makes the writer for the repository at a path; nothing may be started before it is used."""


class InlineWriter:
    """Writes in the calling process, and blocks it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Write to the repository at ``path``, which is opened at the first request."""
        self._path = path
        self._applier: Applier | None = None

    async def submit(self, request: Request) -> Value:
        """As :meth:`Writer.submit`."""
        if self._applier is None:
            self._applier = Applier(self._path)
        (answer,) = self._applier.apply([request])
        if isinstance(answer, DatakitError):
            raise answer
        return answer

    async def close(self) -> None:
        """As :meth:`Writer.close`."""
        if self._applier is not None:
            self._applier.close()


class Applier:
    """Carries requests out on a repository; the only code that changes one."""

    def __init__(self, path: Path) -> None:
        """Open the repository at ``path`` for writing."""
        pygit2.settings.enable_fsync_gitdir(True)
        self._repository = open_repository(path)
        self._repository.set_ident(*_IDENTITY)  # for reflogs, where they are kept
        self._refs = RefFiles(path)

    def apply(self, requests: Sequence[Request]) -> list[Value | DatakitError]:
        """The answers to ``requests``, in order; each stands by itself."""
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        """Let go of the repository's files."""
        self._repository.free()

    def _answer(self, request: Request) -> Value | DatakitError:
        try:
            return self._carry_out(request)
        except DatakitError as error:
            return error
        except (pygit2.GitError, OSError) as error:
            _log.warning("cannot write to %s", self._repository.path, exc_info=True)
            return RepositoryError(f"cannot write to {self._repository.path}: {error}")
        except Exception as error:  # noqa: BLE001  # one bad request must not stop the others
            _log.exception("a request failed")
            return RepositoryError(f"the writer failed: {error!r}; its log has more")

    def _carry_out(self, request: Request) -> Value:
        match request:
            case Write(objects, updates):
                self._write(objects, updates)
                return None
            case MergeBase(one, other):
                self._check_commits(one, other)
                base = self._repository.merge_base(one, other)
                return None if base is None else str(base)
            case IsAncestor(ancestor, descendant):
                self._check_commits(ancestor, descendant)
                same = ancestor == descendant
                return same or self._repository.descendant_of(descendant, ancestor)
            case ImportDirectory(path):
                return import_directory(self._repository, path)

    def _write(self, objects: Sequence[NewObject], updates: Sequence[RefUpdate]) -> None:
        # A lost race is found before anything is written; it is looked for again under the lock.
        for update in updates:
            self._check(update)
            self._check_beside(update)
        for new in objects:
            self._write_object(new)
        if updates:
            self._move(updates)

    def _write_object(self, new: NewObject) -> None:
        written = str(self._repository.odb.write(_TYPES[new.kind], new.data))
        if written != new.id:
            raise StoreError(f"object {new.id} was written as {written}: it was named wrongly")

    def _move(self, updates: Sequence[RefUpdate]) -> None:
        """Move refs; waits a moment for other Git processes that have one of them locked."""
        deadline = time.monotonic() + _LOCK_PATIENCE
        unexplained = 0
        while True:
            failure = self._try_to_move(updates)
            if failure is None:
                return
            # Whoever had the lock may have let go before we look.
            lock = self._present_lock(updates)
            unexplained = unexplained + 1 if lock is None else 0
            if unexplained > _UNEXPLAINED:
                raise failure
            if lock is not None and time.monotonic() > deadline:
                raise RepositoryError(
                    f"{lock} stays locked; if no other Git process is running, remove it"
                )
            time.sleep(_LOCK_PAUSE)

    def _try_to_move(self, updates: Sequence[RefUpdate]) -> pygit2.GitError | None:
        try:
            with self._repository.transaction() as transaction:
                for update in updates:
                    transaction.lock_ref(update.name)
                    self._check(update)
                for update in updates:
                    if update.new is None:
                        transaction.remove(update.name)
                    else:
                        transaction.set_target(update.name, update.new)
        except pygit2.GitError as error:
            return error.with_traceback(None)  # its frames would keep the locks that we hold
        return None

    def _present_lock(self, updates: Sequence[RefUpdate]) -> Path | None:
        """The lock file of one of the refs; removing a ref takes that of packed-refs too."""
        names = (*(update.name for update in updates), "packed-refs")
        locks = (Path(self._repository.path, f"{name}.lock") for name in names)
        return next((lock for lock in locks if lock.exists()), None)

    def _check(self, update: RefUpdate) -> None:
        found = self._target(update.name)
        if found != update.old:
            raise HeadMoved(branch_of(update.name), update.old, found)

    def _check_beside(self, update: RefUpdate) -> None:
        # libgit2 looks only at loose refs, and says it in words about directories.
        if update.old is None and update.name.startswith(HEADS):
            branch = branch_of(update.name)
            other = self._refs.obstacle(branch)
            if other is not None:
                raise InvalidName(f"branch {branch} cannot exist beside {other}")

    def _check_commits(self, *commits: CommitId) -> None:
        for commit in commits:
            try:
                kind, _ = self._repository.odb.read_header(commit)
            except KeyError:
                kind = None
            if kind is not ObjectType.COMMIT:
                raise UnknownObject(f"no commit {commit}")

    def _target(self, name: str) -> CommitId | None:
        try:
            target = self._repository.lookup_reference(name).target
        except KeyError:
            return None
        if isinstance(target, str):
            raise InvalidName(f"{name} is a symbolic ref; commit to {target} instead")
        return CommitId(ObjectId(str(target)))
