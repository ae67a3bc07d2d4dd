"""What lies beside the service's own pipeline and belongs to it: found here, read where it changed.

In a repository that is what Git knows or would take; elsewhere everything but what is hidden and
what tools have made. Neither Git repositories nor virtual environments are part of it.

A file that Git does not know and that only its owner may read is left where it is: that is how
secrets are kept (:meth:`datakit_ci.secrets.Secret.read` insists on it), and the database has
other readers.
"""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from datakit_core.client.api import BlobId, FileMode
from datakit_core.errors import ConfigError
from datakit_core.store import new_object
from datakit_core.store.git import environment
from datakit_core.store.objects import ObjectKind

__all__ = ["Content", "Item", "look"]

_LARGEST = 64 << 20
"""Bytes of all files together."""

_MOST = 10_000
"""Files."""

_REMEDY = "give the pipeline a directory of its own, or have Git ignore there what is no part of it"

_FRESH = 2_000_000_000
"""Nanoseconds within which a file may change again without a new time of change: clocks of file
systems are coarse, and those of other machines are not ours."""

_GIT = ("git", "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard")

_UNKNOWN = b"? "
"""Before the names of files that Git does not know (git-ls-files(1), ``-t``)."""

_PATIENCE = 60.0
"""Seconds for Git to look around."""

Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A file or link as it was when it was read.

    Attributes:
        mode: How a tree holds it.
        blob: Its content.
        stamp: Tells this state of the file from others; empty: nothing does, so it is read again.
    """

    mode: FileMode
    blob: BlobId
    stamp: Stamp = ()


Content: TypeAlias = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or link to be taken along.

    Attributes:
        path: Where on this machine.
        status: Of the file, or of the link if that is what is taken.
        mode: How a tree holds it.
    """

    path: bytes
    status: os.stat_result
    mode: FileMode


def look(pipeline: Path, known: Mapping[str, Item]) -> tuple[Mapping[str, Item], Content]:
    """What belongs to ``pipeline``, by its path below its directory.

    Args:
        pipeline: The file; no link.
        known: What an earlier look has found; what is still the same is not read.

    Returns:
        All items, and the contents of those that were read.

    Raises:
        ConfigError: The pipeline or a file cannot be read, or there is too much.
    """
    places = _places(pipeline)
    _check_size(pipeline, places)
    items: dict[str, Item] = {}
    read: dict[str, bytes] = {}
    for name, place in places.items():
        before = known.get(name)
        if before is not None and before.stamp and before.stamp == _stamp(place.status):
            items[name] = before
            continue
        try:
            content = _content(place)
        except FileNotFoundError:
            continue  # it has gone meanwhile
        except OSError as error:
            shown = os.fsdecode(place.path)
            raise ConfigError(f"cannot be read: {error.strerror}; {_REMEDY}", shown) from error
        items[name] = Item(
            place.mode, BlobId(new_object(ObjectKind.BLOB, content).id), _kept(place)
        )
        read[name] = content
    return items, read


def _places(pipeline: Path) -> Mapping[str, _Place]:
    folder = os.fsencode(pipeline.parent)
    names = _known_to_git(folder, os.fsencode(pipeline.name)) or dict.fromkeys(_walk(folder), False)
    found: dict[str, _Place] = {}
    try:
        found[pipeline.name] = _Place(os.fsencode(pipeline), pipeline.stat(), FileMode.NORMAL)
    except OSError as error:
        raise ConfigError(f"cannot read the pipeline: {error.strerror}", str(pipeline)) from error
    for name, is_tracked in names.items():
        for below, place in _resolved(folder, name):
            is_shared = is_tracked and below == name
            if is_shared or below.endswith(b".py") or not _is_private(place):
                found.setdefault(os.fsdecode(below), place)
        if len(found) > _MOST:
            raise ConfigError(
                f"more than {_MOST} files lie there, which all workers would get; {_REMEDY}",
                str(pipeline.parent),
            )
    return found


def _known_to_git(folder: bytes, pipeline: bytes) -> Mapping[bytes, bool]:
    """What Git knows or would take, and whether it knows it; nothing if that is none of its.

    A pipeline that is ignored lies in a repository by accident.
    """
    try:
        done = subprocess.run(
            _GIT, cwd=folder, env=environment(), capture_output=True, check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.split(b"\0")[:-1] if done.returncode == 0 else []
    names = {line[2:]: not line.startswith(_UNKNOWN) for line in lines if line[-1:] != b"/"}
    if pipeline not in names:
        return {}
    foreign: dict[bytes, bool] = {}
    return {
        name: is_tracked
        for name, is_tracked in names.items()
        if is_tracked or not _is_below_foreign(folder, name, foreign)
    }


def _is_below_foreign(folder: bytes, name: bytes, seen: dict[bytes, bool]) -> bool:
    """Whether a path leads through a directory that is no part of a pipeline."""
    above, slash, _ = name.rpartition(b"/")
    if not slash:
        return False
    if above not in seen:
        is_foreign = _is_foreign(os.path.join(folder, above))  # noqa: PTH118 - bytes
        seen[above] = is_foreign or _is_below_foreign(folder, above, seen)
    return seen[above]


def _walk(directory: bytes, below: bytes = b"") -> Iterator[bytes]:
    """The files and links below ``directory``, without what is hidden or made by tools."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return  # what we cannot read, the pipeline cannot either
    for entry in entries:
        if entry.name.startswith(b".") or entry.name.endswith(b".pyc"):
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield below + entry.name
        elif entry.name != b"__pycache__" and not _is_foreign(entry.path):
            yield from _walk(entry.path, below + entry.name + b"/")


def _is_foreign(directory: bytes) -> bool:
    """Whether it is a repository (gitrepository-layout(5)) or a virtual environment (venv)."""

    def has(name: bytes) -> bool:
        return os.path.lexists(os.path.join(directory, name))  # noqa: PTH118 - bytes

    return has(b".git") or has(b"pyvenv.cfg") or (has(b"HEAD") and has(b"objects"))


def _resolved(folder: bytes, name: bytes) -> Iterator[tuple[bytes, _Place]]:
    """What to take of a name.

    A link that leads out of the directory stands for what is there, and so does a submodule.
    """
    path = os.path.join(folder, name)  # noqa: PTH118 - bytes
    try:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            mode = FileMode.EXECUTABLE if status.st_mode & stat.S_IXUSR else FileMode.NORMAL
            yield name, _Place(path, status, mode)
        elif stat.S_ISLNK(status.st_mode):
            yield from _followed(folder, name, _Place(path, status, FileMode.LINK))
        elif stat.S_ISDIR(status.st_mode):
            for below in _walk(path):
                yield from _resolved(folder, name + b"/" + below)
    except FileNotFoundError:
        return  # deleted and not yet committed, or gone meanwhile


def _followed(folder: bytes, name: bytes, link: _Place) -> Iterator[tuple[bytes, _Place]]:
    real = os.path.realpath(link.path)
    root = os.path.realpath(folder)
    if real == root or real.startswith(root + b"/") or not os.path.exists(real):  # noqa: PTH110
        yield name, link
    elif os.path.isdir(real):  # noqa: PTH112 - bytes
        for below in _walk(real):
            place = os.path.join(real, below)  # noqa: PTH118 - bytes
            if not os.path.islink(place):  # noqa: PTH114 - bytes
                for _, found in _resolved(real, below):
                    yield name + b"/" + below, found
    else:
        directory, _, last = real.rpartition(b"/")
        for _, found in _resolved(directory, last):
            yield name, found


def _is_private(place: _Place) -> bool:
    """Whether its owner has shut everybody else out."""
    others = stat.S_IRWXG | stat.S_IRWXO
    return place.mode is not FileMode.LINK and not place.status.st_mode & others


def _check_size(pipeline: Path, places: Mapping[str, _Place]) -> None:
    size = sum(place.status.st_size for place in places.values())
    if size <= _LARGEST:
        return
    largest = max(places, key=lambda name: places[name].status.st_size)
    raise ConfigError(
        f"{size >> 20} MiB lie there, which all workers would get, and at most {_LARGEST >> 20} "
        f"can be sent (the largest file is {largest}); {_REMEDY}",
        str(pipeline.parent),
    )


def _content(place: _Place) -> bytes:
    if place.mode is FileMode.LINK:
        return os.readlink(place.path)  # noqa: PTH115 - bytes
    with open(place.path, "rb") as file:  # noqa: PTH123 - bytes
        return file.read(_LARGEST)


def _kept(place: _Place) -> Stamp:
    """What tells the file's state; nothing of one that has only just changed."""
    is_fresh = place.status.st_ctime_ns > time.time_ns() - _FRESH
    return () if is_fresh else _stamp(place.status)


def _stamp(status: os.stat_result) -> Stamp:
    return (
        status.st_mode,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
