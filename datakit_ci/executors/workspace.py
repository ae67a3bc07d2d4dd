"""How a command gets its input, and how its outputs are found.

:class:`Workspace` is the whole of what the child process knows about that. :class:`Checkout`
copies the input's files; another one may show the tree through a mount and trace what is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from datakit_ci.disk import write_file
from datakit_ci.lookup import check_path
from datakit_ci.pattern import Pattern, is_pattern
from datakit_ci.question import Question
from datakit_core.client.api import BlobId, Entry, TreeId

__all__ = ["Checkout", "ObjectReader", "Workspace"]


class ObjectReader(Protocol):
    """Where objects are read from, without waiting: a store, or a reader of one."""

    def tree(self, tree: TreeId, /) -> Mapping[str, Entry]:
        """One directory."""
        ...

    def blob(self, blob: BlobId, /) -> bytes:
        """A whole file."""
        ...


class Workspace(Protocol):
    """One build's input as a directory, and what is found in it afterwards."""

    @property
    def directory(self) -> Path:
        """Where the command runs."""
        ...

    def prepare(self) -> None:
        """Make the input appear."""
        ...

    @property
    def observations(self) -> tuple[Question, ...] | None:
        """What the command looked at; none if that is not known: all that it could.

        Asked for after the command has ended.
        """
        ...

    def collect(self, patterns: Sequence[str], into: Path) -> Sequence[str]:
        """Put what ``patterns`` name into the new directory ``into``, at the same paths.

        Without patterns there is no directory.

        Returns:
            The patterns that nothing matched.
        """
        ...


class Checkout:
    """A copy of a tree's files: without ``.git``, with executable bits and links.

    Attributes:
        directory: Where it is; made by :meth:`prepare`.
        observations: None: nobody sees which of the copies a command reads.
    """

    observations = None

    def __init__(self, reader: ObjectReader, tree: TreeId, directory: Path) -> None:
        """Copy ``tree`` from ``reader``."""
        self.directory = directory
        self._reader, self._tree = reader, tree

    def prepare(self) -> None:
        """Write all files; never outside of the directory, whatever the tree holds.

        Nothing is ever written through a link: directories are made anew, files exclusively.

        Raises:
            InvalidName: The tree has a name such as ``..`` or ``.git``.
        """
        pending = [(self.directory, self._tree)]
        while pending:
            directory, tree = pending.pop()
            directory.mkdir()
            for name, entry in self._reader.tree(tree).items():
                check_path(name)
                if entry.is_directory:
                    pending.append((directory / name, TreeId(entry.id)))
                else:
                    write_file(directory / name, entry.mode, self._reader.blob(BlobId(entry.id)))

    def collect(self, patterns: Sequence[str], into: Path) -> Sequence[str]:
        """Give files and links a second name in ``into``; what is neither (a socket) is no output.

        Nothing is copied, so ``into`` must be on the same file system.
        """
        if not patterns:
            return []
        into.mkdir()
        missing, found = [], set[str]()
        for pattern in patterns:
            paths = set(self._matching(pattern))
            found |= paths
            if not paths:
                missing.append(pattern)
        for path in sorted(found):
            destination = into / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.directory / path, destination, follow_symlinks=False)
        return missing

    def _matching(self, pattern: str) -> Iterator[str]:
        """The files that ``pattern`` names: a path (of a directory: all below), or a pattern."""
        if is_pattern(pattern):
            yield from filter(Pattern.parse(pattern).matches, self._walk(""))
            return
        parents = pattern.split("/")[:-1]
        for depth in range(len(parents)):
            if (self.directory / "/".join(parents[: depth + 1])).is_symlink():
                return  # it would lead out of the workspace
        yield from self._walk(pattern)

    def _walk(self, path: str) -> Iterator[str]:
        """The files and links at and below ``path``; links are not followed."""
        try:
            mode = (self.directory / path).lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(mode):
            with os.scandir(self.directory / path) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                yield from self._walk(f"{path}/{name}" if path else name)
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield path
