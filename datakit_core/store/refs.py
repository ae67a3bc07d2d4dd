"""Branches on disk: refs read from Git's own files, whoever wrote them.

A branch is a file below ``refs/heads`` or a line of ``packed-refs`` (gitrepository-layout(5));
the file wins. They are read here and not by libgit2, because a directory of refs may hold
anything: symbolic refs, damaged ones, names that are not text. What is not the id of an object
is passed over, so that one bad ref hides only itself.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from datakit_core.store.objects import CommitId, ObjectId

__all__ = ["FETCHED", "HEADS", "MERGED", "RefFiles", "branch_of", "ref_of"]

_log = logging.getLogger(__name__)

HEADS = "refs/heads/"

FETCHED = "refs/datakit/fetched/"
"""Where commits are kept that no branch has: fetched ones below a digest of the URL, by their own
full names."""

MERGED = FETCHED + "merged/"
"""Where the large merges of transactions are kept until they are committed, by their ids."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_LOOSE = re.compile(rb"([0-9a-f]{40})\s*\Z")
_PACKED = re.compile(rb"^([0-9a-f]{40}) refs/heads/(.+)$", re.MULTILINE)


def ref_of(branch: str) -> str:
    """The full name of a branch's ref."""
    return HEADS + branch


def branch_of(ref: str) -> str:
    """The branch of a ref below ``refs/heads``; any other ref keeps its full name."""
    return ref.removeprefix(HEADS)


class RefFiles:
    """The branches of one repository, as its files have them now."""

    def __init__(self, repository: Path) -> None:
        """Read below ``repository``, the bare repository's directory."""
        self._repository = repository
        self._heads = repository / "refs" / "heads"
        self._prefix = f"{self._heads}/"  # joining paths takes longer than reading a ref
        self._packed_refs = repository / "packed-refs"
        self._packed: Mapping[str, CommitId] = {}
        self._signature: tuple[int, ...] | None = None

    def head(self, branch: str) -> CommitId | None:
        """One branch's head; ``branch`` has been checked, so it cannot leave ``refs/heads``."""
        # In this order: packing writes the packed line before it removes the file.
        found = self._loose(branch)
        return self.packed().get(branch) if found is None else found

    def heads(self) -> dict[str, CommitId]:
        """All branches."""
        loose = {
            branch: head for branch in self._names(self._heads) if (head := self._loose(branch))
        }
        return {**self.packed(), **loose}

    def obstacle(self, branch: str) -> str | None:
        """A branch beside which ``branch`` cannot be, as Git cannot have both ``x`` and ``x/y``."""
        parent = branch
        while parent := parent.rpartition("/")[0]:
            if self.head(parent) is not None:
                return parent
        beneath = f"{branch}/"
        loose = next(self._names(self._heads / branch), None)
        return loose or next((name for name in self.packed() if name.startswith(beneath)), None)

    def below(self, path: Path) -> Iterator[str]:
        """The branches that ``path``, a file or directory below ``refs/heads``, may concern."""
        try:
            relative = path.relative_to(self._heads)
        except ValueError:
            return
        if path.is_dir():
            yield from self._names(path)
        elif relative.parts and path.suffix != ".lock":
            yield relative.as_posix()

    def repacked(self) -> dict[str, CommitId | None]:
        """Branches whose lines in ``packed-refs`` differ from when it was last read; the new ones.

        None stands for a line that has gone.
        """
        before = self._packed
        now = self.packed()
        if now is before:
            return {}
        names = before.keys() | now.keys()
        return {name: now.get(name) for name in names if before.get(name) != now.get(name)}

    def packed(self) -> Mapping[str, CommitId]:
        """The branches in ``packed-refs``; read again only when the file was replaced."""
        try:
            status = self._packed_refs.stat()
        except FileNotFoundError:
            if self._signature is not None:
                self._packed, self._signature = {}, None
            return self._packed
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        if signature != self._signature:
            lines = _PACKED.findall(self._packed_refs.read_bytes())
            self._packed = {
                os.fsdecode(name): CommitId(ObjectId(head.decode())) for head, name in lines
            }
            self._signature = signature
        return self._packed

    def _loose(self, branch: str) -> CommitId | None:
        try:
            descriptor = os.open(
                os.fsencode(self._prefix + branch), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )
        except OSError:  # absent, a directory of branches, or removed while we looked
            return None
        try:
            content = os.read(descriptor, 64)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        match = _LOOSE.match(content)
        if match is None:
            _log.debug("passed over ref %r: it does not hold an object id", branch)
            return None
        return CommitId(ObjectId(match[1].decode()))

    def _names(self, directory: Path) -> Iterator[str]:
        for folder, _, files in os.walk(directory):
            for name in files:
                if not name.endswith(".lock"):
                    yield os.path.relpath(os.path.join(folder, name), self._heads)  # noqa: PTH118
