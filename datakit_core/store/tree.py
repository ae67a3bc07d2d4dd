"""An overlay: a tree being edited in memory, over an immutable one.

Only what is touched becomes a node; everything else stays an entry of the base tree and is read
from the store when it is looked at. Freezing names what changed: a directory that was not
edited keeps its id, so that a commit's cost follows the edits and not the size of the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from datakit_core.budget import Budget
from datakit_core.errors import (
    AlreadyExists,
    InvalidArgument,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotPermitted,
    TooLarge,
    UnknownObject,
)
from datakit_core.store.content import FileContent
from datakit_core.store.edited import (
    NAME,
    NODE,
    Content,
    EditedDirectory,
    EditedFile,
    files_of,
    freeze,
    height_of,
    memory_of,
    mode_of,
    touch,
    weight_of,
)
from datakit_core.store.names import MAX_DEPTH, check_file_name, check_path, split_path
from datakit_core.store.objects import (
    EMPTY_TREE,
    BlobId,
    Entry,
    FileMode,
    NewObject,
    ObjectKind,
    TreeId,
)
from datakit_core.store.reader import ObjectReader
from datakit_core.store.spool import Spool, SpoolSpace
from datakit_core.store.steps import Steps, at_once

__all__ = ["MAX_EDITS", "MAX_FILE", "Overlay"]

MAX_FILE = 4 << 30
"""Bytes that one edited file may have; what is long is on disk."""

MAX_EDITS = 8 << 30
"""Bytes that all edited files of one overlay may have together."""


class Overlay:
    """A tree that can be edited.

    Paths are ``/``-separated, without a leading slash; ``""`` is the root. Every operation either
    succeeds or changes nothing. Directories may be empty here; they never reach Git.
    Submodules stay where they are, unseen; nothing else can be made in their place.
    """

    def __init__(
        self,
        reader: ObjectReader,
        base: TreeId | None,
        *,
        max_file: int = MAX_FILE,
        max_edits: int = MAX_EDITS,
        space: SpoolSpace | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Start from ``base``, or from nothing.

        Args:
            reader: Where the objects of ``base`` are.
            base: The tree to edit.
            max_file: Bytes that one edited file may have.
            max_edits: Bytes that all edited files may have together.
            space: Where long files are; without it, all of them are in memory.
            budget: What memory is taken from, until :meth:`end`.

        Raises:
            NoMemory: The budget is used up.
        """
        self._reader = reader
        self._max_file, self._max_edits = max_file, max_edits
        self._space, self._budget = space, budget
        self._edits = self._memory = 0
        self._root: Content = self._load(base if base is not None else EMPTY_TREE)

    def mode(self, path: str) -> FileMode | None:
        """What is at ``path``, or none."""
        node = self._find(path)
        return None if node is None else mode_of(node)

    def unedited(self, path: str) -> Entry | None:
        """The stored object at ``path``; none if nothing is there, or it is being edited."""
        node = self._find(path)
        return node if isinstance(node, Entry) else None

    def list(self, path: str) -> Mapping[str, FileMode]:
        """The names in a directory with their modes, sorted by the bytes of the names."""
        names: Mapping[str, Content]
        match self._existing(path):
            case EditedDirectory() as directory:
                names = directory.names
            case Entry(mode=FileMode.DIRECTORY) as entry:
                names = self._reader.tree(TreeId(entry.id))
            case _:
                raise NotDirectory
        modes = {name: mode_of(node) for name, node in names.items()}
        shown = (name for name, mode in modes.items() if mode is not FileMode.SUBMODULE)
        order = sorted(shown, key=lambda name: name.encode(errors="surrogateescape"))
        return MappingProxyType({name: modes[name] for name in order})

    def size(self, path: str) -> int:
        """A file's length in bytes; 0 for a directory."""
        match self._existing(path):
            case EditedFile() as file:
                return file.content.length
            case Entry() as entry if not entry.is_directory:
                return self._reader.size(BlobId(entry.id))
            case _:
                return 0

    def read(self, path: str, offset: int = 0, count: int | None = None) -> bytes:
        """Up to ``count`` bytes of a file from ``offset``; empty at the end.

        Raises:
            InvalidArgument: ``offset`` is negative or beyond the end.
        """
        content: FileContent | bytes
        match self._existing(path):
            case EditedFile() as file:
                content = file.content
            case Entry() as entry if not entry.is_directory:
                content = self._reader.blob(BlobId(entry.id))
            case _:
                raise IsDirectory
        length = len(content) if isinstance(content, bytes) else content.length
        if offset < 0:
            raise InvalidArgument(f"Negative offset {offset}")
        if offset > length:
            raise InvalidArgument(f"Offset {offset} beyond end-of-file (len = {length})")
        count = length - offset if count is None else max(count, 0)
        if isinstance(content, bytes):
            return bytes(memoryview(content)[offset : offset + count])
        return content.read(offset, count)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write at ``offset``; an absent file is made, a gap is filled with zero bytes.

        Raises:
            TooLarge: The file, or all edits together, would have too many bytes.
        """
        if offset < 0:
            raise InvalidArgument(f"Bad write offset {offset}")
        content = self._edit_file(path, offset + len(data)).content
        held = content.held
        content.write(offset, data)
        self._settle(content, held)

    def truncate(self, path: str, length: int) -> None:
        """Cut a file to ``length`` bytes, or extend it with zero bytes."""
        if length < 0:
            raise InvalidArgument(f"Bad length {length}")
        old = self._existing(path)
        if length == 0 and isinstance(old, Entry) and not old.is_directory:
            self.put(path, b"", old.mode)  # however long it is, it need not be read
            return
        content = self._edit_file(path, length).content
        held = content.held
        self._edits -= max(content.length - length, 0)
        content.truncate(length)
        self._settle(content, held)

    def put(self, path: str, data: bytes, mode: FileMode = FileMode.NORMAL) -> None:
        """Create or replace a file; missing directories above it are made."""
        if mode is FileMode.DIRECTORY:
            raise InvalidArgument("a file cannot have the mode of a directory")
        parts = check_path(path)
        old = self._peek(parts)
        if old is not None and mode_of(old) is FileMode.DIRECTORY:
            raise IsDirectory
        self._check_parents(parts, make=True)
        self._charge(NODE)
        try:
            self._grow(old.content if isinstance(old, EditedFile) else None, len(data))
            names = self._parent(parts, make=True).names
        except BaseException:
            self._release(NODE)
            raise
        if isinstance(old, EditedFile):
            self._release(NODE + old.content.held)
        content = FileContent(data, self._space)
        self._settle(content, 0)
        names[parts[-1]] = EditedFile(content, mode)

    def mkdir(self, path: str) -> None:
        """Make an empty directory; its parent must exist."""
        parts = check_path(path)
        if self._peek(parts) is not None:
            raise AlreadyExists
        names = self._parent(parts).names
        self._charge(NODE)
        names[parts[-1]] = EditedDirectory(None, {})

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        parts = split_path(path)
        if not parts:
            raise NotPermitted
        self._existing(path)
        self._drop(self._parent(parts).names.pop(parts[-1]))

    def rename(self, path: str, name: str) -> None:
        """Give a node another name in its directory.

        A file, or an empty directory, that has the name is replaced.

        Raises:
            IsDirectory: A directory that is not empty has the name.
        """
        parts = split_path(path)
        if not parts:
            raise NotPermitted("Can't rename /")
        check_file_name(name)
        self.move(path, "/".join((*parts[:-1], name)))

    def move(self, path: str, to: str) -> None:
        """Let a node be at the path ``to``, whose directory must exist.

        A file, or an empty directory, that is there is replaced.

        Raises:
            IsDirectory: A directory that is not empty is there.
            InvalidArgument: A directory cannot move into itself.
        """
        parts, target_parts = split_path(path), check_path(to)
        if not parts or not target_parts:
            raise NotPermitted("Can't rename /")
        node = self._existing(path)
        if parts == target_parts:
            return
        if target_parts[: len(parts)] == parts:
            raise InvalidArgument("a directory cannot move into itself")
        if len(target_parts) + height_of(node) > MAX_DEPTH:
            raise InvalidArgument(f"a path may have at most {MAX_DEPTH} directories")
        self._check_parents(target_parts, make=False)
        target = self._peek(target_parts)
        if target is not None and self._has_children(target):
            raise IsDirectory
        names = self._parent(target_parts).names
        if target is not None:
            self._drop(names[target_parts[-1]])
        names[target_parts[-1]] = self._parent(parts).names.pop(parts[-1])

    def set_mode(self, path: str, mode: FileMode) -> None:
        """Make a file normal, executable or a link; what it holds stays."""
        if mode is FileMode.DIRECTORY:
            raise InvalidArgument("Incorrect is_directory flag for chmod")
        if mode_of(self._existing(path)) is FileMode.DIRECTORY:
            raise NotPermitted
        parts = split_path(path)
        names = self._parent(parts).names
        match names[parts[-1]]:
            case EditedFile() as file:
                file.mode = mode
            case Entry() as entry:
                names[parts[-1]] = Entry(mode, entry.id)
            case EditedDirectory():
                raise AssertionError("checked above")

    def graft(self, path: str, entry: Entry) -> None:
        """Put an existing tree or blob at ``path``, whatever was there; parents are made.

        Raises:
            UnknownObject: The store has no such object, or of another kind.
        """
        wanted = ObjectKind.TREE if entry.is_directory else ObjectKind.BLOB
        if self._reader.kind(entry.id) is not wanted:
            raise UnknownObject(f"no {wanted.value} {entry.id}")
        parts = check_path(path)
        if not parts:
            self._graft_root(entry)
            return
        names = self._parent(parts, make=True).names
        if parts[-1] in names:
            self._drop(names[parts[-1]])
        names[parts[-1]] = entry

    def freeze(self) -> tuple[TreeId, tuple[NewObject, ...]]:
        """Name the tree as it is now, without ending the editing.

        Returns:
            Its id, and the objects to write for it: those of edited files and directories.
        """
        return at_once(self.freeze_steps())

    def freeze_steps(self) -> Steps[tuple[TreeId, tuple[NewObject, ...]]]:
        """As :meth:`freeze`, in steps; nothing may be edited meanwhile."""
        objects: dict[str, NewObject] = {}
        entry = yield from freeze(self._root, objects)
        return (EMPTY_TREE if entry is None else TreeId(entry.id)), tuple(objects.values())

    def unstored(self) -> Sequence[FileContent]:
        """The contents that are too long for memory, and are to be stored before freezing."""
        return [
            file.content
            for file in files_of(self._root)
            if file.content.spool is not None and file.content.stored is None
        ]

    def adopt(self, path: str, entry: Entry, spool: Spool) -> None:
        """Edit the stored file ``entry`` at ``path``, whose content is in ``spool``.

        Nothing happens if something else is at ``path`` by now.

        Raises:
            TooLarge: All edits together would have too many bytes.
        """
        if self._find(path) == entry:
            content = FileContent.spooled(spool, BlobId(entry.id))
            self._charge(NODE)
            self._grow(None, content.length)
            parts = split_path(path)
            self._parent(parts).names[parts[-1]] = EditedFile(content, entry.mode)

    def end(self, tree: TreeId) -> None:
        """Let go of all edits, at once; what is read afterwards is ``tree``, which is stored."""
        for file in files_of(self._root):
            if file.content.spool is not None:
                file.content.spool.close()
        self._root = Entry(FileMode.DIRECTORY, tree)
        self._release(self._memory)
        self._edits = 0

    def _load(self, tree: TreeId) -> EditedDirectory:
        names = self._reader.whole_tree(tree)
        memory = NODE + NAME * len(names)
        self._charge(memory)
        return EditedDirectory(tree, dict(names), memory=memory)

    def _graft_root(self, entry: Entry) -> None:
        if not entry.is_directory:
            raise IsDirectory
        loaded = self._load(TreeId(entry.id))
        self._drop(self._root)
        self._root = loaded

    def _find(self, path: str) -> Content | None:
        """What is at ``path``, without making nodes of what is only looked at."""
        found = self._peek(split_path(path))
        return None if found is None or mode_of(found) is FileMode.SUBMODULE else found

    def _existing(self, path: str) -> Content:
        node = self._find(path)
        if node is None:
            raise NoEntry
        return node

    def _peek(self, parts: tuple[str, ...]) -> Content | None:
        node: Content | None = self._root
        for part in parts:
            if node is None:
                return None
            node = self._child(node, part)
        return node

    def _child(self, node: Content, name: str) -> Content | None:
        match node:
            case EditedDirectory():
                return node.names.get(name)
            case Entry(mode=FileMode.DIRECTORY):
                tree = TreeId(node.id)
                return self._reader.entry(tree, name) or self._reader.whole_tree(tree).get(name)
            case _:
                return None

    def _parent(self, parts: tuple[str, ...], *, make: bool = False) -> EditedDirectory:
        """The directory that holds the last of ``parts``, as a node that is about to change."""
        if len(parts) > MAX_DEPTH:
            raise InvalidArgument(f"a path may have at most {MAX_DEPTH} directories")
        self._check_parents(parts, make=make)
        assert isinstance(self._root, EditedDirectory), "editing has not ended"
        directory = self._root
        for part in parts[:-1]:
            touch(directory)
            child = directory.names.get(part)
            if isinstance(child, Entry):
                child = self._load(TreeId(child.id))
            elif child is None:
                self._charge(NODE)
                child = EditedDirectory(None, {})
            assert isinstance(child, EditedDirectory), "checked before anything was changed"
            directory.names[part] = child
            directory = child
        touch(directory)
        return directory

    def _check_parents(self, parts: tuple[str, ...], *, make: bool) -> None:
        """Refuse a path below a file, or of a submodule.

        And one in an absent directory, unless that is made.
        """
        if not parts:
            raise IsDirectory
        node: Content = self._root
        for part in parts[:-1]:
            child = self._child(node, part)
            if child is None and not make:
                raise NoEntry
            if child is None:
                return
            if mode_of(child) is not FileMode.DIRECTORY:
                raise NotDirectory
            node = child
        taken = self._child(node, parts[-1])
        if taken is not None and mode_of(taken) is FileMode.SUBMODULE:
            raise AlreadyExists

    def _edit_file(self, path: str, end: int) -> EditedFile:
        """The file at ``path`` as a node that will have at least ``end`` bytes; made if absent."""
        old = self._find(path)
        parts = check_path(path) if old is None else split_path(path)
        if old is not None and mode_of(old) is FileMode.DIRECTORY:
            raise IsDirectory
        self._check_parents(parts, make=False)
        content = b""
        if isinstance(old, Entry):
            if self._reader.size(BlobId(old.id)) > self._max_file:
                raise TooLarge
            content = self._reader.blob(BlobId(old.id))
        held = old.content.length if isinstance(old, EditedFile) else len(content)
        self._grow(old.content if isinstance(old, EditedFile) else None, max(held, end))
        names = self._parent(parts).names
        if not isinstance(old, EditedFile):
            mode = FileMode.NORMAL if old is None else mode_of(old)
            self._charge(NODE)
            old = EditedFile(FileContent(content, self._space), mode)
            self._settle(old.content, 0)
            names[parts[-1]] = old
        return old

    def _grow(self, old: FileContent | None, new: int) -> None:
        """Refuse a file of ``new`` bytes before anything is allocated, or account for it."""
        before = old.length if old is not None else 0
        if new > self._max_file or self._edits - before + new > self._max_edits:
            raise TooLarge
        if self._budget is not None:
            content = old or FileContent(b"", self._space)
            more = content.held_with(new) - content.held
            if more > 0:  # only looked at: what is really held is accounted for afterwards
                self._budget.take(more)
                self._budget.give(more)
        self._edits += new - before

    def _settle(self, content: FileContent, before: int) -> None:
        """Account for the memory of content that had ``before`` bytes there."""
        more = content.held - before
        if more > 0:
            self._charge(more)
        else:
            self._release(-more)

    def _charge(self, count: int) -> None:
        """Take memory; raises ``NoMemory`` before anything is changed."""
        if self._budget is not None:
            self._budget.take(count)
            self._memory += count

    def _release(self, count: int) -> None:
        if self._budget is not None:
            self._budget.give(count)
            self._memory -= count

    def _drop(self, node: Content) -> None:
        """Account for a node that has gone."""
        self._edits -= weight_of(node)
        self._release(memory_of(node))

    def _has_children(self, node: Content) -> bool:
        match node:
            case EditedDirectory() as directory:
                return bool(directory.names)
            case Entry(mode=FileMode.DIRECTORY) as entry:
                return bool(self._reader.whole_tree(TreeId(entry.id)))
            case _:
                return False
