"""A disk that remembers what was written and what was synced, and what a power cut may leave."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from datakit_core.store.disk import Disk, Log

__all__ = ["Acknowledged", "RecordingDisk", "Step", "lay_out", "states_after_power_cut"]


@dataclass(frozen=True, slots=True)
class Put:
    """A file was replaced as a whole, or removed (none); synced at once or not."""

    name: str
    content: bytes | None
    synced: bool = False


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock file was made or removed."""

    name: str
    there: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """A log grew."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """A log is on disk, or everything (none)."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A writer has told its clients, ``number`` times so far."""

    number: int


Step: TypeAlias = Put | Locked | Appended | Synced | Acknowledged


@dataclass(slots=True)
class RecordingDisk:
    """Does what another disk does, and keeps a list of it."""

    disk: Disk
    steps: list[Step] = field(default_factory=list)

    def read(self, name: str) -> bytes | None:
        return self.disk.read(name)

    def names(self, prefix: str) -> list[str]:
        return self.disk.names(prefix)

    def loose_objects(self, since: float) -> list[str]:
        return self.disk.loose_objects(since)

    def touch(self, name: str) -> bool:
        return self.disk.touch(name)

    def replace(self, name: str, content: bytes, *, synced: bool = False) -> None:
        self.disk.replace(name, content, synced=synced)
        self.steps.append(Put(name, content, synced))

    def append(self, name: str, content: bytes) -> None:
        self.disk.append(name, content)
        self.steps.append(Put(name, self.disk.read(name)))

    def remove(self, name: str) -> None:
        self.disk.remove(name)
        self.steps.append(Put(name, None))

    def lock(self, name: str) -> bool:
        taken = self.disk.lock(name)
        if taken:
            self.steps.append(Locked(name, there=True))
        return taken

    def unlock(self, name: str) -> None:
        self.disk.unlock(name)
        self.steps.append(Locked(name, there=False))

    def release_locks(self) -> None:
        self.disk.release_locks()

    def create_log(self, name: str, header: bytes) -> Log:
        log = _RecordingLog(self.disk.create_log(name, header), name, self.steps)
        self.steps += [Put(name, header, synced=True)]
        return log

    def sync_all(self) -> None:
        self.disk.sync_all()
        self.steps.append(Synced(None))


@dataclass(slots=True)
class _RecordingLog:
    log: Log
    name: str
    steps: list[Step]

    def append(self, data: bytes) -> None:
        self.log.append(data)
        self.steps.append(Appended(self.name, data))

    def sync(self) -> None:
        self.log.sync()
        self.steps.append(Synced(self.name))

    def close(self) -> None:
        self.log.close()


@dataclass(slots=True)
class _Files:
    """File contents and lock files as a disk may have them."""

    contents: dict[str, bytes] = field(default_factory=dict)
    locks: set[str] = field(default_factory=set)

    def take(self, step: Step, torn: bytes | None = None) -> None:
        match step:
            case Put(name, None):
                self.contents.pop(name, None)
            case Put(name, content):
                assert content is not None
                self._make_way(name)
                self.contents[name] = content if torn is None else torn
            case Locked(name, there):
                (self.locks.add if there else self.locks.discard)(name)
            case Appended(name, data):
                self.contents[name] += data if torn is None else torn
            case Synced() | Acknowledged():
                pass

    def _make_way(self, name: str) -> None:
        """A name is a file or a directory: one can only be there if the other has gone."""
        for other in [*self.contents]:
            if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
                del self.contents[other]
        self.locks = {lock for lock in self.locks if not lock.startswith(f"{name}/")}


def states_after_power_cut(
    steps: list[Step], seed: int
) -> Iterator[tuple[int, dict[str, bytes], set[str]]]:
    """For each moment: acknowledgements so far, and files and locks that the disk may have then.

    What was not synced may be there, be missing, or be torn, each file by itself; which, is
    decided by ``seed``.
    """
    for moment in range(len(steps) + 1):
        chance = random.Random(f"{seed} {moment}")
        past = steps[:moment]
        acknowledged = max(
            (step.number for step in past if isinstance(step, Acknowledged)), default=0
        )
        files = _Files()
        for number, step in enumerate(past):
            _keep(files, step, safe=_is_safe(step, past[number:]), chance=chance)
        yield acknowledged, files.contents, files.locks


def _is_safe(step: Step, later: list[Step]) -> bool:
    if isinstance(step, Put) and step.synced:
        return True
    name = step.name if isinstance(step, Appended) else None
    return any(sync in (Synced(None), Synced(name)) for sync in later)


def _keep(files: _Files, step: Step, *, safe: bool, chance: random.Random) -> None:
    fate = "kept" if safe else chance.choice(["kept", "lost", "torn"])
    content = {Put: "content", Appended: "data"}.get(type(step))
    if fate == "torn" and content is not None and getattr(step, content) is not None:
        whole: bytes = getattr(step, content)
        files.take(step, torn=whole[: chance.choice([0, 0, chance.randrange(len(whole))])])
    elif fate != "lost":
        files.take(step)


def lay_out(base: Path, target: Path, contents: dict[str, bytes], locks: set[str]) -> None:
    """Make the repository ``target`` from ``base`` and what was written to it since."""
    shutil.copytree(base, target)
    for name, content in contents.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for lock in locks:
        path = target / f"{lock}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(target / "datakit.writer")
