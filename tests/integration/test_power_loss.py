"""A power cut at every moment of a writer's work: what was acknowledged is there afterwards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from datakit_core.store import CommitId, ObjectKind, Store, new_object
from datakit_core.store.disk import RepositoryFiles
from datakit_core.store.groupcommit import GroupCommit
from datakit_core.store.objects import (
    Entry,
    FileMode,
    NewObject,
    Signature,
    TreeId,
    encode_commit,
    encode_tree,
)
from datakit_core.store.recovery import recover_repository
from datakit_core.store.repository import create_repository, open_repository
from datakit_core.store.requests import RefUpdate, Write
from datakit_core.store.writeahead import WriteAhead
from tests.support.disks import Acknowledged, RecordingDisk, lay_out, states_after_power_cut
from tests.support.git import git

_WHO = Signature("A. Writer", "writer@example.org", 1)


@dataclass(slots=True)
class History:
    """Makes commits, and notes the heads that follow one another at each acknowledgement."""

    heads: dict[str, CommitId] = field(default_factory=dict)
    moments: list[dict[str, CommitId]] = field(default_factory=lambda: [{}])
    made: int = 0

    def commit(self, branch: str) -> Write:
        self.made += 1
        blob = new_object(ObjectKind.BLOB, b"content %d" % self.made)
        tree = new_object(ObjectKind.TREE, encode_tree({"file": Entry(FileMode.NORMAL, blob.id)}))
        old = self.heads.get(branch)
        parents = [] if old is None else [old]
        data = encode_commit(TreeId(tree.id), parents, _WHO, _WHO, "a commit")
        commit = new_object(ObjectKind.COMMIT, data)
        return self._move(branch, CommitId(commit.id), (blob, tree, commit))

    def delete(self, branch: str) -> Write:
        return self._move(branch, None)

    def _move(
        self, branch: str, new: CommitId | None, objects: tuple[NewObject, ...] = ()
    ) -> Write:
        update = RefUpdate(f"refs/heads/{branch}", self.heads.pop(branch, None), new)
        if new is not None:
            self.heads[branch] = new
        self.moments.append(dict(self.heads))
        return Write(objects, (update,))


def batches(history: History) -> list[list[Write]]:
    """Commits by several writers, one after another on one branch, deletions, a reuse of a name."""
    commit, delete = history.commit, history.delete
    return [
        [commit("main"), commit("main"), commit("other/one")],
        [commit("main")],
        [],  # a checkpoint
        [commit("other/one"), commit("main"), delete("other/one")],
        [commit("other"), commit("main")],
        [],
        [commit("main")],
    ]


def record(base: Path, work: Path) -> tuple[RecordingDisk, History]:
    shutil.copytree(base, work)
    repository = open_repository(work)
    files = RepositoryFiles(work)
    disk = RecordingDisk(files)
    journal = WriteAhead(disk)
    group = GroupCommit(repository, disk, journal)
    history, done = History(), 0
    for batch in batches(history):
        if not batch:
            journal.checkpoint()
        rest = batch
        while rest:
            outcomes = group.carry_out(rest)
            assert not any(outcomes)
            rest = rest[len(outcomes) :]
            done += len(outcomes)
            disk.steps.append(Acknowledged(done))
    journal.close()
    files.close()
    return disk, history


@pytest.mark.parametrize("seed", [1, 2])
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    base = tmp_path / "base.git"
    create_repository(base)
    shutil.rmtree(base / "hooks", ignore_errors=True)
    (base / "datakit.writer").touch()
    disk, history = record(base, tmp_path / "work.git")
    for moment, (done, contents, locks) in enumerate(states_after_power_cut(disk.steps, seed)):
        repository = tmp_path / f"{moment}.git"
        lay_out(base, repository, contents, locks)
        recover_repository(repository, unclean_since=0.0)
        git(repository, "fsck", "--full", "--strict")
        shown = git(repository, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)")
        found = dict(line.split() for line in shown.splitlines())
        assert found in history.moments[done:], f"after step {moment} of {disk.steps}"
        assert not [*repository.rglob("*.lock"), *repository.glob("datakit.journal-*")]
        shutil.rmtree(repository)


async def test_a_store_opens_what_a_power_cut_has_left(tmp_path: Path) -> None:
    base = tmp_path / "base.git"
    create_repository(base)
    (base / "datakit.writer").touch()
    disk, history = record(base, tmp_path / "work.git")
    *_, last = [
        state
        for step, state in zip(disk.steps, states_after_power_cut(disk.steps, 3), strict=False)
        if isinstance(step, Acknowledged)
    ]
    done, contents, locks = last
    lay_out(base, tmp_path / "cut.git", contents, locks)
    async with Store.open(tmp_path / "cut.git") as store:
        assert dict(store.heads()) in history.moments[done:]
        transaction = store.transaction("main")
        transaction.tree.put("next", b"1")
        assert await transaction.commit() == store.head("main")
