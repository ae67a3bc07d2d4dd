"""The journal at work: one sync for a batch, checkpoints, and a disk that fails."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from datakit_core.errors import DatakitError, HeadMoved, InvalidName, NoSpace, RepositoryError
from datakit_core.store.applier import Applier, Durability
from datakit_core.store.disk import Log, RepositoryFiles
from datakit_core.store.groupcommit import GroupCommit
from datakit_core.store.objects import CommitId, NewObject, ObjectId, ObjectKind, new_object
from datakit_core.store.recovery import recover
from datakit_core.store.repository import create_repository, open_repository
from datakit_core.store.requests import RefUpdate, Write
from datakit_core.store.writeahead import WriteAhead
from tests.support.disks import RecordingDisk, Synced

MISSING = CommitId(ObjectId("a" * 40))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_repository(tmp_path / "a.git")
    return tmp_path / "a.git"


@pytest.fixture
def disk(path: Path) -> Iterator[RecordingDisk]:
    files = RepositoryFiles(path)
    yield RecordingDisk(files)
    files.close()


def blob(text: str) -> NewObject:
    return new_object(ObjectKind.BLOB, text.encode())


def create(name: str) -> Write:
    """A ref on an object that need not be a commit: the writer does not look."""
    new = blob(name)
    return Write((new,), (RefUpdate(f"refs/heads/{name}", None, CommitId(new.id)),))


def test_a_batch_costs_one_sync(path: Path, disk: RecordingDisk) -> None:
    journal = WriteAhead(disk)
    group = GroupCommit(open_repository(path), disk, journal)
    assert group.carry_out([create(f"b{number}") for number in range(20)]) == [None] * 20
    syncs = [step for step in disk.steps if isinstance(step, Synced)]
    assert syncs == [Synced("datakit.journal-00000000")]
    journal.close()


def test_a_write_that_fails_harms_no_other_of_its_batch(path: Path, disk: RecordingDisk) -> None:
    group = GroupCommit(open_repository(path), disk, None)
    lost = Write((), (RefUpdate("refs/heads/main", MISSING, None),))
    good, late, beside = group.carry_out([create("main"), create("main"), create("main/x")])
    assert good is None
    assert isinstance(late, HeadMoved)
    assert isinstance(beside, InvalidName)
    assert isinstance(group.carry_out([lost])[0], HeadMoved)
    assert not [*path.rglob("*.lock")]


def test_a_head_that_another_program_moved_is_synced_before_it_is_built_upon(
    path: Path, disk: RecordingDisk
) -> None:
    journal = WriteAhead(disk)
    group = GroupCommit(open_repository(path), disk, journal)
    assert group.carry_out([create("main")]) == [None]
    foreign = blob("foreign")
    disk.disk.replace("refs/heads/main", f"{foreign.id}\n".encode())
    new = blob("new")
    update = RefUpdate("refs/heads/main", CommitId(foreign.id), CommitId(new.id))
    assert group.carry_out([Write((new,), (update,))]) == [None]
    syncs = [step for step in disk.steps if isinstance(step, Synced)]
    assert syncs[1:] == [Synced(None), Synced("datakit.journal-00000000")]
    journal.close()


def test_an_old_segment_is_synced_aside_and_removed(disk: RecordingDisk) -> None:
    now = 0.0
    journal = WriteAhead(disk, clock=lambda: now)
    assert journal.due is None
    journal.record(Write((blob("x"),)))
    assert journal.due == pytest.approx(5.0)
    now = 6.0
    journal.tend()
    assert journal._checkpoint is not None
    journal._checkpoint.join()
    assert disk.names("datakit.journal-") == ["datakit.journal-00000001"]
    journal.tend()
    assert journal.due is None
    journal.close()
    assert disk.names("datakit.journal-") == []


@dataclass(slots=True)
class FailingLog:
    log: Log

    def append(self, data: bytes) -> None:
        self.log.append(data)

    def sync(self) -> None:
        raise OSError(errno.EIO, "the disk has failed")

    def close(self) -> None:
        self.log.close()


@dataclass(slots=True)
class FailingDisk(RecordingDisk):
    logs: list[FailingLog] = field(default_factory=list)

    def create_log(self, name: str, header: bytes) -> Log:
        return FailingLog(self.disk.create_log(name, header))


def test_nothing_is_acknowledged_after_a_sync_has_failed(path: Path, disk: RecordingDisk) -> None:
    group = GroupCommit(open_repository(path), disk, WriteAhead(FailingDisk(disk.disk)))
    for _ in range(2):
        (outcome,) = group.carry_out([create("main")])
        assert isinstance(outcome, RepositoryError)
    assert not (path / "refs/heads/main").exists()
    assert not [*path.rglob("*.lock")]


@dataclass(slots=True)
class FullDisk(RecordingDisk):
    full: bool = False
    only_refs: bool = False

    def replace(self, name: str, content: bytes, *, synced: bool = False) -> None:
        if name.startswith("refs/") or not self.only_refs:
            self._check()
        self.disk.replace(name, content, synced=synced)

    def create_log(self, name: str, header: bytes) -> Log:
        self._check()
        return self.disk.create_log(name, header)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(
    path: Path, disk: RecordingDisk
) -> None:
    now = 0.0
    full = FullDisk(disk.disk)
    journal = WriteAhead(full, clock=lambda: now)
    group = GroupCommit(open_repository(path), full, journal)
    assert group.carry_out([create("before")]) == [None]
    full.full, now = True, 6.0
    with pytest.raises(OSError, match="No space left"):
        journal.tend()  # there is no room for a new segment, and the old one goes on
    assert journal.due == pytest.approx(5.0)
    assert isinstance(group.carry_out([create("during")])[0], NoSpace)
    journal.record(create("recorded"))
    full.full, now = False, 12.0
    journal.tend()
    assert group.carry_out([create("after")]) == [None]
    journal.close()
    assert full.names("datakit.journal-") == []
    assert sorted(at.name for at in (path / "refs/heads").iterdir()) == ["after", "before"]


def test_a_move_that_failed_does_not_come_between_those_that_were_acknowledged(
    path: Path, disk: RecordingDisk
) -> None:
    full = FullDisk(disk.disk, only_refs=True)
    group = GroupCommit(open_repository(path), full, WriteAhead(full))
    assert group.carry_out([create("main")]) == [None]
    (start,) = create("main").updates
    failed, new = blob("failed"), blob("new")
    full.full = True
    for _ in range(2):
        move = RefUpdate(start.name, start.new, CommitId(failed.id))
        assert isinstance(group.carry_out([Write((failed,), (move,))])[0], NoSpace)
    full.full = False
    move = RefUpdate(start.name, start.new, CommitId(new.id))
    assert group.carry_out([Write((new,), (move,))]) == [None]
    # A power cut now takes the ref back to where it was synced last.
    disk.disk.replace(start.name, f"{start.new}\n".encode())
    recover(disk.disk)
    assert (path / start.name).read_text() == f"{new.id}\n"


def test_a_journal_is_closed_on_a_full_disk(path: Path, disk: RecordingDisk) -> None:
    full = FullDisk(disk.disk)
    journal = WriteAhead(full)
    journal.record(Write((blob("x"),)))
    full.full = True
    journal.close()
    assert full.names("datakit.journal-") == []


def test_a_log_for_which_there_is_no_room_leaves_no_file(
    disk: RecordingDisk,
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            disk.disk.create_log("datakit.journal-1", b"header")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert disk.disk.names("datakit.journal-") == []


def test_relaxed_writing_keeps_no_journal(path: Path) -> None:
    applier = Applier(path, Durability.RELAXED)
    outcome: list[object] = [*applier.apply([create("main")])]
    assert outcome == [None]
    assert not [*path.glob("datakit.journal-*")]
    applier.close()


def test_only_one_writer_can_be_at_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datakit_core.store.disk._PATIENCE", 0.0)
    first, second = Applier(path), Applier(path)
    assert first.apply([create("main")]) == [None]
    (refused,) = second.apply([create("other")])
    assert isinstance(refused, DatakitError)
    first.close()
    assert second.apply([create("other")]) == [None]
    second.close()
