"""What an overlay keeps of a tree: entries that are as they were, and what is edited.

An edited file has its content in memory; a directory is one of these from when something in it
is edited. Freezing turns them into objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from datakit_core.store.objects import (
    EMPTY_TREE,
    Entry,
    FileMode,
    NewObject,
    ObjectKind,
    TreeId,
    encode_tree,
    new_object,
)

__all__ = [
    "Content",
    "EditedDirectory",
    "EditedFile",
    "freeze",
    "mode_of",
    "touch",
    "weight_of",
]


@dataclass(slots=True)
class EditedFile:
    """A file whose content is edited.

    Attributes:
        data: Replaced as a whole, or changed in place.
        mode: Any but ``DIRECTORY``.
        frozen: The content as an object, until it is changed.
    """

    data: bytearray
    mode: FileMode
    frozen: NewObject | None = None


@dataclass(slots=True)
class EditedDirectory:
    """A directory that is edited, or leads to one that is.

    Attributes:
        source: Its tree as long as neither it nor anything below is edited; then none.
        names: What is in it.
        frozen: The tree as an object, until something below is changed.
    """

    source: TreeId | None
    names: dict[str, Content]
    frozen: NewObject | None = None


Content: TypeAlias = Entry | EditedFile | EditedDirectory


def mode_of(node: Content) -> FileMode:
    """The mode that the entry of ``node`` has, or will have."""
    return FileMode.DIRECTORY if isinstance(node, EditedDirectory) else node.mode


def touch(directory: EditedDirectory) -> None:
    """Note that something in ``directory``, or below it, is about to change."""
    directory.source = None
    directory.frozen = None


def weight_of(node: Content) -> int:
    """Bytes of the edited files below ``node``."""
    match node:
        case EditedFile():
            return len(node.data)
        case EditedDirectory():
            return sum(weight_of(child) for child in node.names.values())
        case _:
            return 0


def height_of(node: Content) -> int:
    """How many levels of edited directories a node has, itself included; 0 for others."""
    levels, level = 0, [node]
    while directories := [item for item in level if isinstance(item, EditedDirectory)]:
        levels += 1
        level = [child for directory in directories for child in directory.names.values()]
    return levels


def freeze(node: Content, objects: dict[str, NewObject]) -> Entry | None:
    """The entry for ``node``; none for a directory without files."""
    match node:
        case Entry():
            return node
        case EditedFile():
            if node.frozen is None:
                node.frozen = new_object(ObjectKind.BLOB, bytes(node.data))
            objects[node.frozen.id] = node.frozen
            return Entry(node.mode, node.frozen.id)
        case EditedDirectory(source=None):
            return _freeze_directory(node, objects)
        case EditedDirectory(source=source):
            assert source is not None
            return None if source == EMPTY_TREE else Entry(FileMode.DIRECTORY, source)


def _freeze_directory(directory: EditedDirectory, objects: dict[str, NewObject]) -> Entry | None:
    # Children first: an unchanged directory with changed files below has been touched, and
    # their objects have to be listed even when the tree itself was frozen before.
    entries: dict[str, Entry] = {}
    for name, child in directory.names.items():
        entry = child if type(child) is Entry else freeze(child, objects)
        if entry is not None:
            entries[name] = entry
    if not entries:
        return None
    if directory.frozen is None:
        directory.frozen = new_object(ObjectKind.TREE, encode_tree(entries))
    objects[directory.frozen.id] = directory.frozen
    return Entry(FileMode.DIRECTORY, directory.frozen.id)
