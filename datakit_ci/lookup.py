"""Looking things up in a tree, and nothing but what was asked for.

A stage's tree and the look-up of its results both go through here, so that a question can never
have one answer while a stage runs and another one when its result is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from datakit_ci.pattern import Pattern, States
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import InvalidName

__all__ = [
    "DirectoryReader",
    "Match",
    "TreeReader",
    "check_path",
    "find_entry",
    "find_matches",
    "join_path",
]


class DirectoryReader(Protocol):
    """Where directories are read from."""

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        """One directory."""
        ...


class TreeReader(DirectoryReader, Protocol):
    """Where trees are read from: any ``Database`` will do."""

    async def blob(self, blob: BlobId) -> bytes:
        """A whole file."""
        ...


class Match(NamedTuple):
    """A file or link whose path matches a pattern."""

    path: str
    entry: Entry


class _Found(NamedTuple):
    """A path met while matching, and where in the pattern that has come to."""

    path: str
    entry: Entry
    states: States


def check_path(path: str) -> str:
    """Return ``path`` if it may name a file or directory inside a tree (``""`` is the root).

    Raises:
        InvalidName: It is absolute, leads out of the tree, or has a part that Git refuses.
    """
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or "\0" in part or part.lower() == ".git":
            raise InvalidName(
                f"{path!r} cannot be a path in a tree: write it relative to the root, "
                "without '.', '..', '.git' or a slash at either end"
            )
    return path


def join_path(directory: str, path: str) -> str:
    """``path`` below ``directory``; either may be the root."""
    return f"{directory}/{path}" if directory and path else directory or path


async def find_entry(reader: DirectoryReader, tree: TreeId, path: str) -> Entry | None:
    """What is at ``path``; none if nothing is. Links are not followed."""
    found: Entry | None = Entry(FileMode.DIRECTORY, tree)
    for name in path.split("/") if path else ():
        if found is None or not found.is_directory:
            return None
        found = (await reader.tree(TreeId(found.id))).get(name)
    return found


async def find_matches(reader: DirectoryReader, tree: TreeId, pattern: str) -> Sequence[Match]:
    """The files and links that match, each directory sorted by name.

    Directories that cannot hold a match are not read.
    """
    wanted = Pattern.parse(pattern)
    matches = []
    left = [_Found("", Entry(FileMode.DIRECTORY, tree), wanted.start)]
    while left:
        path, entry, states = left.pop()
        if not entry.is_directory:
            if wanted.is_match(states):
                matches.append(Match(path, entry))
        elif wanted.is_open(states):
            entries = await reader.tree(TreeId(entry.id))
            left.extend(
                _Found(join_path(path, name), entries[name], matched)
                for name in sorted(entries, reverse=True)
                if (matched := wanted.step(states, name))
            )
    return matches
