"""Carrying out what a writer is asked; the only code that changes a repository."""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from datakit_core.errors import ConfigError, DatakitError, RepositoryError, UnknownObject
from datakit_core.store.activity import JournalLength
from datakit_core.store.directory import import_directory
from datakit_core.store.disk import RepositoryFiles, sync_file_system, write_failure
from datakit_core.store.groupcommit import GroupCommit
from datakit_core.store.objects import CommitId, NewObject, ObjectKind
from datakit_core.store.recovery import recover
from datakit_core.store.repository import loose_only, open_repository
from datakit_core.store.requests import (
    Bulk,
    ImportDirectory,
    IsAncestor,
    MergeBase,
    Request,
    Value,
    Write,
)
from datakit_core.store.writeahead import WriteAhead

__all__ = ["Applier", "Durability"]

_log = logging.getLogger(__name__)

_TYPES = {
    ObjectKind.BLOB: ObjectType.BLOB,
    ObjectKind.TREE: ObjectType.TREE,
    ObjectKind.COMMIT: ObjectType.COMMIT,
}


class Durability(enum.Enum):
    """What an acknowledged write survives.

    ``FULL``: everything, a power cut too. ``RELAXED``: the death of DataKit; a power cut may lose
    the writes of the last half minute, and damage the repository.
    """

    FULL = "full"
    RELAXED = "relaxed"

    @classmethod
    def parse(cls, text: str) -> Durability:
        """The durability called ``text``; raises ``ConfigError``."""
        try:
            return cls(text)
        except ValueError:
            raise ConfigError(f"{text!r} is not full or relaxed", "--durability") from None


class Applier:
    """Carries requests out on a repository.

    What moves refs, or is small, goes through the journal of the repository, which only one
    process may have; objects in bulk do not, so that a second process can write those.
    """

    def __init__(self, path: Path, durability: Durability = Durability.FULL) -> None:
        """Open the repository at ``path``; the journal is begun by the first write."""
        self._path, self._durability = path, durability
        self._repository, self._writing = open_repository(path), loose_only(path)
        self._packs = self._look_at_packs()
        self._disk: RepositoryFiles | None = None
        self._journal: WriteAhead | None = None
        self._group: GroupCommit | None = None

    @property
    def due(self) -> float | None:
        """Seconds until :meth:`tend` has something to do; none if only requests make work."""
        return None if self._journal is None else self._journal.due

    @property
    def journal_length(self) -> JournalLength:
        """How much a start after a crash would carry out again."""
        return JournalLength() if self._journal is None else self._journal.length

    def tend(self) -> None:
        """Do what is due between requests; quick."""
        packs = self._look_at_packs()
        if packs != self._packs:
            self._packs = packs
            try:
                self._reopen()
            except DatakitError as error:
                _log.warning("goes on with packs that were removed: %s", error)
        if self._journal is not None:
            try:
                self._journal.tend()
            except OSError:
                _log.exception("cannot begin a checkpoint of %s", self._path)

    def apply(self, requests: Sequence[Request]) -> list[Value | DatakitError]:
        """The answers to ``requests``, in order; each stands by itself."""
        answers: list[Value | DatakitError] = []
        while len(answers) < len(requests):
            rest = requests[len(answers) :]
            writes = [*takewhile(lambda request: isinstance(request, Write), rest)]
            try:
                answers += self._write([write for write in writes if isinstance(write, Write)])
                if not writes:
                    answers.append(self._carry_out(rest[0]))
            except Exception as error:  # noqa: BLE001  # one bad request must not stop the others
                failure = self._failure(error)
                answers += [failure] * max(1, len(writes))
        return answers

    def close(self) -> None:
        """Make everything durable that must be, and let go of the repository's files."""
        if self._journal is not None:
            try:
                self._journal.close()
            except OSError:
                _log.exception("%s could not be synced; its journal is kept", self._path)
        if self._disk is not None:
            self._disk.close()
        self._repository.free()
        self._writing.free()

    def _look_at_packs(self) -> int:
        """What changes when packs come or go."""
        try:
            return (self._path / "objects" / "pack").stat().st_mtime_ns
        except OSError:  # there is none yet, or requests will tell
            return 0

    def _reopen(self) -> None:
        """Let go of packs that were removed: they take their place until nobody reads them."""
        old, self._repository = self._repository, open_repository(self._path)
        if self._group is not None:
            self._group.repository = self._repository
        old.free()

    def _write(self, writes: Sequence[Write]) -> Sequence[DatakitError | None]:
        if not writes:
            return ()
        if self._group is None:
            self._group = self._begin()
        return self._group.carry_out(writes)

    def _write_bulk(self, objects: Sequence[NewObject], *, last: bool) -> None:
        for new in objects:
            written = str(self._writing.odb.write(_TYPES[new.kind], new.data))
            if written != new.id:
                raise RepositoryError(f"object {new.id} is {written}: it was named wrongly")
        if last and self._durability is Durability.FULL:
            sync_file_system(self._path)

    def _begin(self) -> GroupCommit:
        if self._disk is None:
            self._disk = RepositoryFiles(self._path)
        recover(self._disk)
        if self._durability is Durability.FULL:
            self._disk.sync_all()
            self._journal = WriteAhead(self._disk)
        return GroupCommit(self._repository, self._disk, self._journal)

    def _carry_out(self, request: Request) -> Value:
        match request:
            case MergeBase(one, other):
                self._check_commits(one, other)
                base = self._repository.merge_base(one, other)
                return None if base is None else str(base)
            case IsAncestor(ancestor, descendant):
                self._check_commits(ancestor, descendant)
                same = ancestor == descendant
                return same or self._repository.descendant_of(descendant, ancestor)
            case ImportDirectory(path):
                return import_directory(self._writing, path)
            case Bulk(objects, last):
                self._write_bulk(objects, last=last)
                return None
            case Write():
                raise AssertionError("writes are carried out together")

    def _check_commits(self, *commits: CommitId) -> None:
        for commit in commits:
            kind = None
            with suppress(KeyError):
                kind, _ = self._repository.odb.read_header(commit)
            if kind is not ObjectType.COMMIT:
                raise UnknownObject(f"no commit {commit}")

    def _failure(self, error: Exception) -> DatakitError:
        match error:
            case DatakitError():
                return error
            case pygit2.GitError() | OSError():
                _log.warning("cannot write to %s", self._path, exc_info=error)
                return write_failure(self._path, error)
            case _:
                _log.error("a request failed", exc_info=error)
                return RepositoryError(f"the writer failed: {error!r}; its log has more")
