"""What an overlay keeps of a tree: entries that are as they were, and what is edited.

A directory is one of these from when something in it is edited. Freezing turns them into objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from datakit_core.store.content import FileContent
from datakit_core.store.objects import (
    EMPTY_TREE,
    Entry,
    FileMode,
    NewObject,
    ObjectKind,
    TreeId,
    encode_tree_steps,
    new_object,
)
from datakit_core.store.steps import Steps

__all__ = [
    "Content",
    "EditedDirectory",
    "EditedFile",
    "files_of",
    "freeze",
    "height_of",
    "memory_of",
    "mode_of",
    "touch",
    "weight_of",
]

NODE = 400
"""Bytes that an edited file or directory takes besides its content, roughly."""

NAME = 120
"""Bytes that an unedited name in an edited directory takes, roughly."""


@dataclass(slots=True)
class EditedFile:
    """A file whose content is edited.

    Attributes:
        content: The bytes.
        mode: Any but ``DIRECTORY``.
    """

    content: FileContent
    mode: FileMode


@dataclass(slots=True)
class EditedDirectory:
    """A directory that is edited, or leads to one that is.

    Attributes:
        source: Its tree as long as neither it nor anything below is edited; then none.
        names: What is in it.
        frozen: The tree as an object, until something below is changed.
        memory: Bytes that it took when it was made.
    """

    source: TreeId | None
    names: dict[str, Content]
    frozen: NewObject | None = None
    memory: int = NODE


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
    return sum(file.content.length for file in files_of(node))


def memory_of(node: Content) -> int:
    """Bytes of memory that ``node`` and what is edited below it take, roughly."""
    match node:
        case EditedFile():
            return NODE + node.content.held
        case EditedDirectory():
            return node.memory + sum(memory_of(child) for child in node.names.values())
        case _:
            return 0


def files_of(node: Content) -> Iterator[EditedFile]:
    """The edited files below ``node``."""
    match node:
        case EditedFile():
            yield node
        case EditedDirectory(source=None):
            for child in node.names.values():
                if type(child) is not Entry:
                    yield from files_of(child)
        case _:
            return


def height_of(node: Content) -> int:
    """How many levels of edited directories a node has, itself included; 0 for others."""
    levels, level = 0, [node]
    while directories := [item for item in level if isinstance(item, EditedDirectory)]:
        levels += 1
        level = [child for directory in directories for child in directory.names.values()]
    return levels


def freeze(node: Content, objects: dict[str, NewObject]) -> Steps[Entry | None]:
    """The entry for ``node``; none for a directory without files."""
    match node:
        case Entry():
            return node
        case EditedFile():
            return _freeze_file(node, objects)
        case EditedDirectory(source=None):
            return (yield from _freeze_directory(node, objects))
        case EditedDirectory(source=source):
            assert source is not None
            return None if source == EMPTY_TREE else Entry(FileMode.DIRECTORY, source)


def _freeze_file(file: EditedFile, objects: dict[str, NewObject]) -> Entry:
    frozen = file.content.freeze()
    if not isinstance(frozen, NewObject):
        return Entry(file.mode, frozen)
    objects[frozen.id] = frozen
    return Entry(file.mode, frozen.id)


def _freeze_directory(
    directory: EditedDirectory, objects: dict[str, NewObject]
) -> Steps[Entry | None]:
    # Children first: an unchanged directory with changed files below has been touched, and
    # their objects have to be listed even when the tree itself was frozen before.
    entries: dict[str, Entry] = {}
    for name, child in directory.names.items():
        entry: Entry | None
        if type(child) is Entry:
            entry = child
        elif type(child) is EditedFile:
            entry = _freeze_file(child, objects)
            if not len(objects) % 64:
                yield
        else:
            entry = yield from freeze(child, objects)
        if entry is not None:
            entries[name] = entry
    if not entries:
        return None
    if directory.frozen is None:
        encoded = yield from encode_tree_steps(entries)
        directory.frozen = new_object(ObjectKind.TREE, encoded)
    objects[directory.frozen.id] = directory.frozen
    return Entry(FileMode.DIRECTORY, directory.frozen.id)
