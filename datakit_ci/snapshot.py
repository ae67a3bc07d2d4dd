"""Snapshots: what is in a checkout now, or was committed, as a commit that DataKit can read.

A snapshot of the working tree has what ``git add --all`` would take: tracked files as they are,
new ones that are not ignored, executable bits and links, and not what was deleted. The user's
index and objects are never touched: Git works on a copy of the index, and puts new objects into a
repository of our own (``.datakit/snapshot.git``), which borrows the checkout's.

The commit is the same for the same files on the same commit, so that nothing runs again for it;
and where nothing was changed it is the commit that is checked out.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from datakit_ci.checkout import Checkout, Source, git_environment
from datakit_core.errors import ConfigError
from datakit_core.store.objects import CommitId, parse_id

__all__ = ["Snapshot", "take_snapshot"]

_REF = "refs/heads/snapshot"

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"

_TIMEOUT = 600.0

_NAME, _EMAIL = "DataKit", "datakit@localhost"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Something to test, as a commit.

    Attributes:
        short: What it is called: ``heads/NAME`` or ``tags/NAME``.
        commit: The commit.
        base: The commit that it was made from, which may be itself; empty if there is none yet.
        is_changed: Whether it has changes that are not committed.
        repository: A bare repository that has the commit with all that belongs to it.
    """

    short: str
    commit: CommitId
    base: str
    is_changed: bool
    repository: Path

    @contextmanager
    def fetchable(self) -> Iterator[tuple[str, str]]:
        """A URL and the name of a ref, from which a database can fetch the commit meanwhile."""
        with _locked(self.repository / "ref.lock", fcntl.LOCK_EX):
            (self.repository / _REF).write_text(f"{self.commit}\n")
            yield str(self.repository), _REF


@contextmanager
def take_snapshot(checkout: Checkout, source: Source, home: Path) -> Iterator[Snapshot]:
    """Make a snapshot of ``source``; its objects are there until the context is left.

    Args:
        checkout: Where it is.
        source: What to take.
        home: A directory for our own repository; the next snapshot there removes old objects.

    Raises:
        ConfigError: Git cannot read the working tree.
    """
    with _repository(checkout, home / "snapshot.git") as repository:
        objects = repository / "objects"
        commit = source.commit
        is_changed = False
        if source.is_working_tree:
            tree = _tree(checkout, repository, objects)
            is_changed = tree != source.tree
            if is_changed or checkout.is_shallow:
                commit = _commit(checkout, objects, tree, source.commit)
        elif checkout.is_shallow:
            commit = _commit(checkout, objects, source.tree, source.commit)
        made = CommitId(parse_id(commit))
        yield Snapshot(source.short, made, source.commit, is_changed, repository)


@contextmanager
def _repository(checkout: Checkout, path: Path) -> Iterator[Path]:
    """Our own repository, which borrows the checkout's objects; others may use it as well."""
    objects = path / "objects"
    with ExitStack() as stack:
        try:
            (objects / "info").mkdir(parents=True, exist_ok=True)
            (path / _REF).parent.mkdir(parents=True, exist_ok=True)
            (path / "config").write_text(_CONFIG)
            (path / "HEAD").write_text(f"ref: {_REF}\n")
            (objects / "info" / "alternates").write_bytes(os.fsencode(checkout.objects) + b"\n")
            lock = _locked(path / "use.lock", fcntl.LOCK_SH, alone=lambda: _empty(objects))
            stack.enter_context(lock)
        except OSError as error:
            raise ConfigError(f"cannot make a snapshot in {path}: {error.strerror}") from error
        yield path


def _empty(objects: Path) -> None:
    """Remove what earlier snapshots needed."""
    for directory in objects.iterdir():
        if directory.name != "info":
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _locked(path: Path, kind: int, alone: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock (flock(2)), which ends with the process; first do ``alone`` if nobody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone()
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _tree(checkout: Checkout, repository: Path, objects: Path) -> str:
    """The tree of the files as they are now."""
    with tempfile.TemporaryDirectory(dir=repository, prefix="index-") as directory:
        index = Path(directory) / "index"
        with suppress(FileNotFoundError):  # nothing was ever added
            shutil.copyfile(checkout.index, index)
        variables = {"GIT_INDEX_FILE": str(index), "GIT_OBJECT_DIRECTORY": str(objects)}
        _git(
            checkout, variables,
            "-c", "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false", "add", "--all",
        )  # fmt: skip
        return _git(checkout, variables, "write-tree")


def _commit(checkout: Checkout, objects: Path, tree: str, parent: str) -> str:
    """A commit of ``tree`` on ``parent`` (empty: on none), as old as that is.

    Of a shallow checkout it has no parent, since there is not all of the history.
    """
    when = _git(checkout, {}, "show", "--no-patch", "--format=%ct", parent) if parent else "0"
    moment = f"@{when} +0000"
    variables = {
        "GIT_OBJECT_DIRECTORY": str(objects),
        **{f"GIT_{role}_NAME": _NAME for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": _EMAIL for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_DATE": moment for role in ("AUTHOR", "COMMITTER")},
    }
    parents = ("-p", parent) if parent and not checkout.is_shallow else ()
    message = "Changes that are not committed"
    return _git(checkout, variables, "commit-tree", *parents, "-m", message, tree)


def _git(checkout: Checkout, variables: Mapping[str, str], *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", "-c", "commit.gpgSign=false", *arguments),
            cwd=checkout.root,
            env={**git_environment(), **variables},
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"git {arguments[-1]} took over {_TIMEOUT:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        raise ConfigError(f"cannot read the working tree {checkout.root}: {said}")
    return done.stdout.decode().strip()
