"""The tree ``rw`` of a transaction: nodes over the edits, found by path.

A node keeps working as long as something is at its path. One whose file was removed answers that
there is nothing, and a write through it makes the file again.
"""

from __future__ import annotations

from collections.abc import Sequence

from datakit_core.dbfs.edit import Edit
from datakit_core.dbfs.large import LargeReader
from datakit_core.dbfs.listing import Listing
from datakit_core.dbfs.tree import MOST_TARGET, kind_of
from datakit_core.errors import (
    CrossDevice,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotEmpty,
    NotPermitted,
)
from datakit_core.store import LARGE_READ, BlobId, FileMode, Overlay
from datakit_core.store.names import check_file_name
from datakit_core.vfs import Answer, Directory, File, Handle, Kind, Node, Stat, inode_of, read_range

__all__ = ["EditedDirectory"]

_MODES = {
    Kind.FILE: FileMode.NORMAL,
    Kind.EXECUTABLE: FileMode.EXECUTABLE,
    Kind.LINK: FileMode.LINK,
}


class _EditedNode(Node):
    def __init__(self, edit: Edit, path: str) -> None:
        self._edit = edit
        self._path = path

    @property
    def inode(self) -> int:
        """Depends on the transaction and the path."""
        return inode_of(self._edit.inode, "rw", self._path)

    @property
    def _tree(self) -> Overlay:
        return self._edit.transaction.tree

    def stat(self) -> Answer[Stat]:
        """What is at the path now."""
        mode = self._tree.mode(self._path)
        if mode is None or (mode is FileMode.DIRECTORY) is not self.is_directory:
            raise NoEntry
        return _describe(self._edit, self._path, mode)

    def rename(self, name: str) -> Answer[None]:
        """Move to another name in the same directory; the node follows."""
        check_file_name(name)
        directory, slash, _ = self._path.rpartition("/")
        self._move(f"{directory}{slash}{name}")
        return None

    def move(self, directory: Directory, name: str) -> Answer[None]:
        """Move within the transaction; the node follows."""
        check_file_name(name)
        if not isinstance(directory, EditedDirectory):
            raise CrossDevice
        self._move(directory.path_of(name, self._edit))
        return None

    def remove(self) -> Answer[None]:
        """Remove it, with all that is in it."""
        self._check_not_root()
        self._edit.check_open()
        return self._edit.when_loaded(self._path.rpartition("/")[0], self._remove)

    def _remove(self) -> None:
        self._tree.remove(self._path)
        self._edit.touched(self._path)

    def _move(self, path: str) -> None:
        self._check_not_root()
        self._edit.check_open()
        self._tree.move(self._path, path)
        self._edit.touched(self._path)
        self._path = path
        self._edit.touched(path)

    def _check_not_root(self) -> None:
        if not self._path:
            raise NotPermitted


class EditedDirectory(_EditedNode, Directory):
    """A directory of the edited tree; the empty path is ``rw`` itself."""

    def __init__(self, edit: Edit, path: str = "") -> None:
        """Show ``path`` of the tree of ``edit``."""
        super().__init__(edit, path)

    def lookup(self, name: str) -> Answer[Node]:
        """What the edits have under ``name`` now."""
        if "/" in name:
            raise NoEntry
        path = self._below(name)
        mode = self._tree.mode(path)
        if mode is None:
            raise NoEntry
        return self._child(path, mode)

    def list(self) -> Answer[Sequence[Stat]]:
        """The names, sorted."""
        return self._edit.when_loaded(self._path, self._list)

    def _list(self) -> Sequence[Stat]:
        return Listing(list(self._tree.list(self._path)), self._describe_child)

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Make a directory, an empty file, or a link to ``target``; a file is replaced."""
        self._edit.check_open()
        check_file_name(name)
        return self._edit.when_loaded(self._path, lambda: self._create(name, kind, target))

    def _create(self, name: str, kind: Kind, target: str) -> Node:
        path = self._below(name)
        self._check_parent()
        if kind is Kind.DIRECTORY:
            self._tree.mkdir(path)
        else:
            self._create_file(path, kind, target)
        self._edit.touched(path)
        return self._child(path, FileMode.DIRECTORY if kind is Kind.DIRECTORY else _MODES[kind])

    def remove_empty(self) -> Answer[None]:
        """Remove it unless something is in it: rmdir must not take a whole tree along."""
        if self._path and self._tree.list(self._path):
            raise NotEmpty
        return self.remove()

    def chmod(self, kind: Kind, target: str = "") -> Answer[None]:
        """Git knows no rights of directories."""
        raise NotPermitted

    def path_of(self, name: str, edit: Edit) -> str:
        """The path of a child in ``edit``; ``CrossDevice`` if this is another transaction."""
        if edit is not self._edit:
            raise CrossDevice
        return self._below(name)

    def _describe_child(self, name: str) -> Stat:
        """A child may have gone since the listing was made; it is then shown as an empty file."""
        path = self._below(name)
        mode = self._tree.mode(path)
        if mode is None:
            return Stat(name, Kind.FILE, inode_of(self._edit.inode, "rw", path))
        return _describe(self._edit, path, mode)

    def _create_file(self, path: str, kind: Kind, target: str) -> None:
        if self._tree.mode(path) is FileMode.DIRECTORY:
            raise IsDirectory
        self._tree.put(path, target.encode(errors="surrogateescape"), _MODES[kind])

    def _check_parent(self) -> None:
        """The directory itself may have gone, or have become a file, since the walk."""
        match self._tree.mode(self._path):
            case None:
                raise NoEntry
            case FileMode.DIRECTORY:
                return
            case _:
                raise NotDirectory

    def _child(self, path: str, mode: FileMode) -> Node:
        if mode is FileMode.DIRECTORY:
            return EditedDirectory(self._edit, path)
        return _EditedFile(self._edit, path)

    def _below(self, name: str) -> str:
        return f"{self._path}/{name}" if self._path else name


class _EditedFile(_EditedNode, File):
    """A file or link of the edited tree."""

    def open(self) -> Answer[Handle]:
        """Read and write at the path, whatever becomes of it; it must be a file now."""
        match self._tree.mode(self._path):
            case None:
                raise NoEntry
            case FileMode.DIRECTORY:
                raise IsDirectory
            case _:
                return _EditedHandle(self, self._edit)

    def chmod(self, kind: Kind, target: str = "") -> Answer[None]:
        """Make it normal, executable or a link; a link's target is its content."""
        self._edit.check_open()
        if kind is Kind.DIRECTORY:
            raise NotPermitted
        if kind is Kind.LINK and target:
            self._tree.put(self._path, target.encode(errors="surrogateescape"), FileMode.LINK)
        else:
            self._tree.set_mode(self._path, _MODES[kind])
        return None

    def truncate(self, length: int) -> Answer[None]:
        """Cut it, or extend it with zero bytes."""
        if length == 0:  # whatever was there need not be read
            self._edit.check_open()
            self._truncate(0)
            return None
        return self._edit.change_file(self._path, lambda: self._truncate(length))

    def _truncate(self, length: int) -> None:
        self._tree.truncate(self._path, length)
        self._edit.touched(self._path)

    def stored(self) -> BlobId | None:
        """The blob that has the content, if it is not edited."""
        entry = self._tree.unedited(self._path)
        return None if entry is None or entry.is_directory else BlobId(entry.id)

    def read(self, offset: int, count: int) -> bytes:
        """A part of the content as it is now, if that is edited."""
        return self._tree.read(self._path, offset, count)

    def write(self, offset: int, data: bytes) -> Answer[int]:
        """Change the content; the file is made again if it has gone."""
        return self._edit.change_file(self._path, lambda: self._write(offset, data))

    def _write(self, offset: int, data: bytes) -> int:
        self._tree.write(self._path, offset, data)
        self._edit.touched(self._path)
        return len(data)


class _EditedHandle(Handle):
    def __init__(self, file: _EditedFile, edit: Edit) -> None:
        self._file = file
        self._edit = edit
        self._large: tuple[BlobId, LargeReader] | None = None

    def read(self, offset: int, count: int) -> Answer[bytes]:
        stored = self._file.stored()
        if self._large is not None and self._large[0] != stored:
            self.close()
        if stored is None:
            return self._file.read(offset, count)
        size = self._edit.contents.size(stored)
        if size <= LARGE_READ:
            return read_range(self._edit.contents.get(stored), offset, count)
        if self._large is None:
            self._large = stored, LargeReader(self._edit.large, stored, size)
        return self._large[1].read(offset, count)

    def write(self, offset: int, data: bytes) -> Answer[int]:
        return self._file.write(offset, data)

    def close(self) -> None:
        if self._large is not None:
            self._large[1].close()
            self._large = None


def _describe(edit: Edit, path: str, mode: FileMode) -> Stat:
    tree = edit.transaction.tree
    inode = inode_of(edit.inode, "rw", path)
    name = path.rpartition("/")[2] or "rw"
    if mode is FileMode.DIRECTORY:
        return Stat(name, Kind.DIRECTORY, inode)
    target, size = "", tree.size(path)
    if mode is FileMode.LINK and size <= MOST_TARGET:
        target = tree.read(path).decode(errors="surrogateescape")
    return Stat(name, kind_of(mode), inode, size, target)
