"""A repository on disk: open or make it, refuse what cannot be served, and lock it.

What is refused is refused with its remedy, before anything is served: a repository of a format
that libgit2 does not read, one with a working tree, one that another DataKit serves.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag

from datakit_core.errors import RepositoryError

__all__ = [
    "create_repository",
    "lock_repository",
    "loose_only",
    "open_repository",
    "prepare_repository",
    "remove_stale_locks",
]

_log = logging.getLogger(__name__)

_LOCK = "datakit.lock"
_STALE = 5.0
"""Seconds after which nobody can still be holding the lock file of a ref."""

_FIRST_BRANCH = "main"


def open_repository(path: Path) -> pygit2.Repository:
    """Open a bare repository of the format that DataKit serves.

    Raises:
        RepositoryError: There is none, or it is not bare, or of another format, or damaged.
    """
    if not path.exists():
        raise RepositoryError(f"{path} does not exist; create it with: git init --bare {path}")
    if (path / ".git").exists():
        raise RepositoryError(
            f"{path} has a working tree; make a bare copy with: git clone --bare {path} {path}.git"
        )
    if not (path / "HEAD").exists() or not (path / "objects").is_dir():
        raise RepositoryError(
            f"{path} is not a Git repository; give a bare one, or an empty directory to create one"
        )
    _check_format(path)
    try:
        repository = pygit2.Repository(path, RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
    except (pygit2.GitError, ValueError) as error:
        raise RepositoryError(f"cannot open {path}: {error}") from error
    return repository


def loose_only(path: Path) -> pygit2.Repository:
    """A handle for writing objects: it knows no packs, so that what it writes becomes a file.

    Maintenance drops old objects to which nothing refers from packs. What is written anew must
    not rely on such a copy; a loose object is young from then on, also if it was there already.
    """
    objects = pygit2.Odb()
    directory, level, unsynced, default = str(path / "objects"), 1, False, 0
    objects.add_backend(pygit2.OdbBackendLoose(directory, level, unsynced, default, default), 1)
    repository = open_repository(path)
    repository.set_odb(objects)
    return repository


def create_repository(path: Path) -> None:
    """Make a bare repository in a directory that is absent or empty; there is none yet.

    Raises:
        RepositoryError: Something else is in the directory, or it cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise RepositoryError(f"{path} is not a directory; give another path")
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            return
        pygit2.init_repository(path, bare=True, initial_head=_FIRST_BRANCH)
    except (OSError, pygit2.GitError) as error:
        raise RepositoryError(f"cannot create a repository in {path}: {error}") from error


def prepare_repository(repository: pygit2.Repository) -> None:
    """Keep Git's own housekeeping away: it may drop what an open transaction still needs.

    Raises:
        RepositoryError: The repository cannot be written.
    """
    path = Path(repository.path)
    for directory in (path, path / "objects", path / "refs"):
        if not os.access(directory, os.W_OK | os.X_OK):
            raise RepositoryError(
                f"{directory} cannot be written; run as its owner, or change its rights"
            )
    try:
        for key in ("gc.auto", "receive.autogc", "maintenance.auto"):
            wanted = "0" if key == "gc.auto" else "false"
            if key not in repository.config or repository.config[key] != wanted:
                repository.config[key] = wanted
    except (pygit2.GitError, OSError) as error:
        raise RepositoryError(f"cannot write {path / 'config'}: {error}") from error


@contextmanager
def lock_repository(path: Path) -> Iterator[float | None]:
    """Be the only DataKit that serves ``path``; other Git processes are welcome.

    The lock is the kernel's (flock(2)) and ends with the process, however it ends; the file stays
    and names its last holder, unless that ended in good order.

    Yields:
        When the last holder began, in seconds since 1970, if it did not end in good order.

    Raises:
        RepositoryError: Another DataKit has it.
    """
    file = path / _LOCK
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RepositoryError(f"{file} cannot be written: {error.strerror}") from error
    try:
        _take(descriptor, path)
        status = os.fstat(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.fsync(descriptor)
        yield status.st_mtime if status.st_size else None
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def remove_stale_locks(path: Path) -> None:
    """Remove the lock files of refs that a process left when it died; may wait for some seconds.

    A living Git process holds such a lock for milliseconds, and no DataKit does now, as the
    caller has the lock of :func:`lock_repository`. So a lock is waited for while it is young.
    """
    packed = path / "packed-refs.lock"
    for lock in (*(path / "refs").rglob("*.lock"), packed):
        while (age := _age(lock)) is not None:
            if age > _STALE:
                _log.warning("removed %s, which a process that died has left", lock)
                lock.unlink(missing_ok=True)
                break
            time.sleep(_STALE / 50)


def _age(lock: Path) -> float | None:
    """Seconds since ``lock`` was made; none if it has gone."""
    try:
        return abs(time.time() - lock.stat().st_mtime)
    except FileNotFoundError:
        return None


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise RepositoryError(f"cannot lock {path}: {error.strerror}") from error
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise RepositoryError(
            f"{path} is served by another DataKit (process {holder}); "
            "stop that one, or connect to it instead"
        ) from None


def _check_format(path: Path) -> None:
    """Refuse what libgit2 cannot read, in words that help."""
    try:
        config = pygit2.Config(str(path / "config"))
    except (pygit2.GitError, OSError) as error:
        raise RepositoryError(f"cannot read {path / 'config'}: {error}") from error
    if _setting(config, "core.bare") == "false":
        raise RepositoryError(
            f"{path} belongs to a working tree; make a bare copy with git clone --bare"
        )
    if _setting(config, "extensions.objectformat") not in ("", "sha1"):
        raise RepositoryError(
            f"{path} uses SHA-256 object ids, which DataKit does not support; "
            "convert it to a repository made with git init --object-format=sha1"
        )
    if _setting(config, "extensions.refstorage") not in ("", "files"):
        raise RepositoryError(
            f"{path} keeps its refs in reftables, which DataKit does not support; "
            "run git refs migrate --ref-format=files in it"
        )


def _setting(config: pygit2.Config, key: str) -> str:
    try:
        return str(config[key]).lower()
    except (KeyError, ValueError, pygit2.GitError):
        return ""
