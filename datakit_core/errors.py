"""Every error of the project, in one tree, and its errno on the wire.

::

    DatakitError
    ├── ProtocolError           the peer broke framing: drop the connection
    ├── FileError               an operation on one node failed: an error reply
    │   ├── NoEntry  NotDirectory  IsDirectory  AlreadyExists  ReadOnly  NotPermitted
    │   ├── InvalidArgument  NotSupported  TooLarge  TooMany  Busy  IoFailed
    │   └── NotEmpty  CrossDevice  NoMemory  NoSpace
    ├── StoreError              Git said no
    │   ├── UnknownObject  InvalidHash  InvalidName
    │   ├── MergeConflict  NotFastForward  HeadMoved
    │   └── RepositoryError     the repository cannot be opened or written
    ├── ClientError             the database answered with an error, or not at all
    │   └── Disconnected
    └── ConfigError             a setting or a pipeline is wrong; says which and where

The texts of file errors are part of the 9P interface: existing clients compare them letter by
letter, so a class carries its text and most callers raise it without arguments.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "Busy",
    "ClientError",
    "ConfigError",
    "CrossDevice",
    "DatakitError",
    "Disconnected",
    "FileError",
    "HeadMoved",
    "InvalidArgument",
    "InvalidHash",
    "InvalidName",
    "IoFailed",
    "IsDirectory",
    "MergeConflict",
    "NoEntry",
    "NoMemory",
    "NoSpace",
    "NotDirectory",
    "NotEmpty",
    "NotFastForward",
    "NotPermitted",
    "NotSupported",
    "ProtocolError",
    "ReadOnly",
    "RepositoryError",
    "StoreError",
    "TooLarge",
    "TooMany",
    "UnknownObject",
    "from_wire",
    "to_file_error",
]


class DatakitError(Exception):
    """The root of all errors that are somebody's fault but not a bug."""


class ProtocolError(DatakitError):
    """The peer sent bytes after which the stream cannot be trusted; the connection is dropped."""


class FileError(DatakitError):
    """An operation on a node failed; becomes an error reply and harms nothing else.

    Attributes:
        errno: The error number for 9P2000.u and .L (Linux numbering).
        text: What the peer is told, and what clients compare.
    """

    errno: ClassVar[int] = errno.EIO
    text: str = "Input/output error"

    def __init__(self, text: str | None = None) -> None:
        """Keep ``text``, or the class's own text when there is nothing to add."""
        self.text = type(self).text if text is None else text
        super().__init__(self.text)


class NoEntry(FileError):
    """Nothing is there. Clients recognise exactly this text, so never add the name."""

    errno = errno.ENOENT
    text = "No such file or directory"


class NotDirectory(FileError):
    """A directory was needed. Walking below a file has a text of its own."""

    errno = errno.ENOTDIR
    text = "Is not a directory"

    @classmethod
    def walking(cls) -> NotDirectory:
        """The error of a walk whose next step starts from a file."""
        return cls("Can't walk from a file")


class IsDirectory(FileError):
    """A file was needed."""

    errno = errno.EISDIR
    text = "Is a directory"


class AlreadyExists(FileError):
    """The name is taken."""

    errno = errno.EEXIST
    text = "Already exists"


class ReadOnly(FileError):
    """This file or directory cannot be changed."""

    errno = errno.EROFS
    text = "Read-only file"

    @classmethod
    def directory(cls) -> ReadOnly:
        """The error of creating or removing something in a directory that is fixed."""
        return cls("Directory is read-only")


class NotPermitted(FileError):
    """The operation makes no sense on this node, whoever asks."""

    errno = errno.EPERM
    text = "Operation not permitted"


class InvalidArgument(FileError):
    """The request itself is wrong: a bad offset, name, command or combination."""

    errno = errno.EINVAL
    text = "Invalid argument"


class NotSupported(FileError):
    """The server does not know this request, or not in this dialect."""

    errno = errno.EOPNOTSUPP
    text = "Function not implemented"


class TooLarge(FileError):
    """A size limit would be exceeded."""

    errno = errno.EFBIG
    text = "File too large"


class TooMany(FileError):
    """A limit on the number of something (fids, transactions, requests) is reached."""

    errno = errno.EMFILE
    text = "Too many open files"


class Busy(FileError):
    """The node is in a state in which this cannot be done now."""

    errno = errno.EBUSY
    text = "Device or resource busy"


class NotEmpty(FileError):
    """A directory that should be removed alone still holds something."""

    errno = errno.ENOTEMPTY
    text = "Directory not empty"


class CrossDevice(FileError):
    """A file cannot move between these directories; programs then copy it and remove it."""

    errno = errno.EXDEV
    text = "Invalid cross-device link"


class NoMemory(FileError):
    """A budget of memory, of a connection or of the server, is used up."""

    errno = errno.ENOMEM
    text = "Cannot allocate memory"


class NoSpace(FileError):
    """There is no room on the disk, or the server may not use more of it for large files."""

    errno = errno.ENOSPC
    text = "No space left on device"


class IoFailed(FileError):
    """The operation was fine; doing it failed (disk full, damaged object)."""

    errno = errno.EIO
    text = "Input/output error"


class StoreError(DatakitError):
    """The store refused; the message says what and, where there is one, the remedy."""


class UnknownObject(StoreError):
    """No such commit, tree or blob in the repository."""


class InvalidHash(StoreError):
    """Not the 40 lower-case hexadecimal digits of a Git object id."""

    def __init__(self, given: str) -> None:
        """Remember what was ``given``."""
        self.given = given
        super().__init__(f'invalid-hash "{given}": expected 40 hexadecimal digits')


class InvalidName(StoreError):
    """A branch or file name that Git, or a later checkout, would not accept."""


_CONFLICT = "Merge conflict: "


class MergeConflict(StoreError):
    """Both sides changed the same paths differently.

    Attributes:
        conflicts: The paths, sorted, without a leading slash.
    """

    def __init__(self, conflicts: Sequence[str]) -> None:
        """Name the ``conflicts``."""
        self.conflicts = tuple(conflicts)
        shown = ", ".join(self.conflicts[:10])
        more = len(self.conflicts) - 10
        super().__init__(f"{_CONFLICT}{shown}{f' and {more} more' if more > 0 else ''}")


class NotFastForward(StoreError):
    """The new commit does not descend from the branch's head."""

    def __init__(self) -> None:
        """The text is fixed: clients compare it."""
        super().__init__("not-fast-forward")


class HeadMoved(StoreError):
    """A compare-and-swap found another head than the expected one.

    Attributes:
        branch: The branch.
        expected: The head that the caller had seen; none means that the branch was absent.
        found: The head that is there.
    """

    def __init__(self, branch: str, expected: str | None, found: str | None) -> None:
        """Name the branch and both heads."""
        self.branch, self.expected, self.found = branch, expected, found
        super().__init__(
            f"branch {branch} moved: expected {expected or 'none'}, found {found or 'none'}; "
            "read the new head and try again"
        )


class RepositoryError(StoreError):
    """The repository cannot be opened, locked or written; the message names path and remedy."""


class ClientError(DatakitError):
    """The database refused a client's request; the message is the server's."""


class Disconnected(ClientError):
    """The connection to the database is gone."""


class ConfigError(DatakitError):
    """A setting, command line or pipeline is wrong.

    Attributes:
        where: File and line, setting or flag; empty when there is no better place than the text.
    """

    def __init__(self, text: str, where: str = "") -> None:
        """Say what is wrong and ``where``."""
        self.where = where
        super().__init__(f"{where}: {text}" if where else text)


def to_file_error(error: DatakitError) -> FileError:
    """The error reply for any of our errors: same text, and the nearest errno."""
    match error:
        case FileError():
            return error
        case UnknownObject():
            return NoEntry()
        case InvalidHash() | InvalidName():
            return InvalidArgument(str(error))
        case MergeConflict() | NotFastForward() | HeadMoved():
            return Busy(str(error))
        case RepositoryError():  # names paths of this machine, which are nobody else's business
            return IoFailed("The repository cannot be written; the server's log says why")
        case _:
            return IoFailed(str(error))


_BY_TEXT: dict[str, type[FileError]] = {
    kind.text: kind
    for kind in (NoEntry, NotDirectory, IsDirectory, AlreadyExists, ReadOnly, NotPermitted)
}
_BY_ERRNO: dict[int, type[FileError]] = {
    kind.errno: kind
    for kind in (
        NoEntry, NotDirectory, IsDirectory, AlreadyExists, ReadOnly, NotPermitted,
        InvalidArgument, NotSupported, TooLarge, TooMany, Busy, NotEmpty, CrossDevice,
        NoMemory, NoSpace,
    )
}  # fmt: skip


def from_wire(text: str, number: int = 0) -> DatakitError:
    """The exception for an error reply: by text, as all clients do, else by ``number``.

    Args:
        text: The reply's error text.
        number: Its errno; 0 in plain 9P2000, which has none.
    """
    if text in _BY_TEXT:
        return _BY_TEXT[text]()
    if text == "not-fast-forward":
        return NotFastForward()
    if text == str(NotDirectory.walking()):
        return NotDirectory.walking()
    if text.startswith(_CONFLICT):
        shown, _, _ = text.removeprefix(_CONFLICT).partition(" and ")
        return MergeConflict(shown.split(", "))
    return _BY_ERRNO.get(number, IoFailed)(text)
