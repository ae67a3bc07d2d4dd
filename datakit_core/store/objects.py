"""Git objects as values: ids, tree entries, commits, and their encoding.

Pure: bytes in, values out, no repository. Formats follow gitformat-pack(5) and the Git book's
chapter "Git Objects". Names and messages are ``str`` with surrogateescape, so that any bytes
survive a round trip; contents are ``bytes``.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NewType, TypeAlias

from datakit_core.errors import InvalidHash, StoreError
from datakit_core.store.steps import Steps, at_once

__all__ = [
    "EMPTY_TREE",
    "BlobId",
    "Commit",
    "CommitId",
    "Entry",
    "FileMode",
    "NewObject",
    "ObjectId",
    "ObjectKind",
    "Signature",
    "Tree",
    "TreeId",
    "decode_commit",
    "decode_tree",
    "decode_tree_steps",
    "decode_whole_tree",
    "decode_whole_tree_steps",
    "encode_commit",
    "encode_tree",
    "encode_tree_steps",
    "new_object",
    "parse_id",
    "served",
    "served_mode",
]

ObjectId = NewType("ObjectId", str)
"""40 lower-case hexadecimal digits."""
BlobId = NewType("BlobId", ObjectId)
TreeId = NewType("TreeId", ObjectId)
CommitId = NewType("CommitId", ObjectId)

_HEX = re.compile(r"[0-9a-f]{40}\Z")


class ObjectKind(enum.Enum):
    """The three kinds of object that DataKit reads and writes."""

    BLOB = "blob"
    TREE = "tree"
    COMMIT = "commit"


class FileMode(enum.IntEnum):
    """The modes of tree entries.

    A submodule names a commit of another repository: it is not served, only kept where it is.
    """

    NORMAL = 0o100644
    EXECUTABLE = 0o100755
    LINK = 0o120000
    DIRECTORY = 0o040000
    SUBMODULE = 0o160000

    @property
    def letter(self) -> str:
        """``D``, ``F``, ``X`` or ``L``, as in watch streams and below ``/trees``; or ``S``."""
        letters = {0o040000: "D", 0o100644: "F", 0o100755: "X", 0o120000: "L", 0o160000: "S"}
        return letters[self]

    @property
    def is_file(self) -> bool:
        """Whether it is that of a regular file."""
        return self in (FileMode.NORMAL, FileMode.EXECUTABLE)

    @classmethod
    def from_letter(cls, letter: str) -> FileMode | None:
        """The served mode for a letter of :attr:`letter`, or none."""
        return {"D": cls.DIRECTORY, "F": cls.NORMAL, "X": cls.EXECUTABLE, "L": cls.LINK}.get(letter)


_OCTAL = {mode: b"%o" % mode for mode in FileMode}
_MODES = {octal: mode for mode, octal in _OCTAL.items()}

# The two passes of a regular expression are twice as fast as looking for each field from Python.
_SOME_ENTRIES = re.compile(rb"(?:[0-7]{1,7} [^\0]++\0.{20}){1,512}+", re.DOTALL)
_TREE_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)


_STEP = 256
"""Entries of a directory that are encoded in one step."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name's meaning in a tree: what kind of thing, and which object."""

    mode: FileMode
    id: ObjectId

    @property
    def is_directory(self) -> bool:
        """Whether :attr:`id` is a tree."""
        return self.mode is FileMode.DIRECTORY

    def __str__(self) -> str:
        """``F-<id>``, the form that watch streams and ``/trees`` use."""
        return f"{self.mode.letter}-{self.id}"


Tree: TypeAlias = Mapping[str, Entry]
"""A directory: names to entries, in Git's order."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when.

    Attributes:
        name: Free text without ``<``, ``>`` and newlines.
        email: As ``name``.
        time: Seconds since 1970-01-01 UTC.
        offset: The author's offset from UTC, in minutes.
    """

    name: str
    email: str
    time: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit object, without headers that DataKit does not use."""

    id: CommitId
    tree: TreeId
    parents: tuple[CommitId, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be written: its id is known before it is on disk."""

    kind: ObjectKind
    id: ObjectId
    data: bytes


def parse_id(text: str) -> ObjectId:
    """Check that ``text`` is an object id; abbreviations and upper case are refused."""
    if not _HEX.match(text):
        raise InvalidHash(text)
    return ObjectId(text)


def new_object(kind: ObjectKind, data: bytes) -> NewObject:
    """Name ``data`` as Git does: the SHA-1 of a header and the content."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.value.encode(), len(data)), usedforsecurity=False)
    digest.update(data)
    return NewObject(kind, ObjectId(digest.hexdigest()), data)


EMPTY_TREE = TreeId(new_object(ObjectKind.TREE, b"").id)


def encode_tree(entries: Mapping[str, Entry]) -> bytes:
    """The content of a tree object; entries may come in any order."""
    return at_once(encode_tree_steps(entries))


def encode_tree_steps(entries: Mapping[str, Entry]) -> Steps[bytes]:
    """As :func:`encode_tree`, in steps."""
    rows: list[tuple[bytes, bytes]] = []
    for name, entry in entries.items():
        if not len(rows) % _STEP:
            yield
        raw = name.encode(errors="surrogateescape")
        # Git sorts a directory as if its name ended in a slash.
        key = raw + b"/" if entry.mode is FileMode.DIRECTORY else raw
        rows.append((key, b"%b %b\0%b" % (_OCTAL[entry.mode], raw, bytes.fromhex(entry.id))))
    rows.sort()
    return b"".join([row for _, row in rows])


def decode_tree(data: bytes) -> Tree:
    """Read a tree object, as far as it is served: :func:`served` of the whole tree."""
    return served(decode_whole_tree(data))


def decode_tree_steps(data: bytes) -> Steps[Tree]:
    """As :func:`decode_tree`, in steps."""
    return served((yield from decode_whole_tree_steps(data)))


def served(tree: Tree) -> Tree:
    """``tree`` without its submodules; itself if it has none."""
    if all(entry.mode is not FileMode.SUBMODULE for entry in tree.values()):
        return tree
    shown = {name: at for name, at in tree.items() if at.mode is not FileMode.SUBMODULE}
    return MappingProxyType(shown)


def decode_whole_tree(data: bytes) -> Tree:
    """Read a tree object, submodules included: what becomes another tree must not lose them.

    Entries of other modes (group-writable files of old repositories) become what they are
    closest to, or are left out.

    Raises:
        StoreError: The object is damaged.
    """
    return at_once(decode_whole_tree_steps(data))


def decode_whole_tree_steps(data: bytes) -> Steps[Tree]:
    """As :func:`decode_whole_tree`, in steps."""
    entries: dict[str, Entry] = {}
    position = 0
    while position < len(data):
        part = _SOME_ENTRIES.match(data, position)
        if part is None:
            raise StoreError("damaged tree object; run git fsck")
        position = part.end()
        _decode_entries(part[0], entries)
        yield
    return MappingProxyType(entries)


def _decode_entries(data: bytes, entries: dict[str, Entry]) -> None:
    for octal, name, raw_id in _TREE_ENTRY.findall(data):
        entry = _decode_entry(octal, raw_id)
        if entry is not None:
            entries[name.decode(errors="surrogateescape")] = entry


# Most entries of a directory are those of the version before, and making one takes longer than
# all the rest; what this holds is some 20 MB.
@lru_cache(maxsize=1 << 16)
def _decode_entry(octal: bytes, raw_id: bytes) -> Entry | None:
    mode = _MODES.get(octal) or _nearest_mode(int(octal, 8))
    return None if mode is None else Entry(mode, ObjectId(raw_id.hex()))


def served_mode(mode: int) -> FileMode | None:
    """The nearest mode that is served; none for a submodule and anything unknown."""
    nearest = _nearest_mode(mode)
    return None if nearest is FileMode.SUBMODULE else nearest


def _nearest_mode(mode: int) -> FileMode | None:
    match mode & 0o170000:
        case 0o160000:
            return FileMode.SUBMODULE
        case 0o040000:
            return FileMode.DIRECTORY
        case 0o120000:
            return FileMode.LINK
        case 0o100000:
            return FileMode.EXECUTABLE if mode & 0o100 else FileMode.NORMAL
        case _:
            return None


def encode_commit(
    tree: TreeId,
    parents: Sequence[CommitId],
    author: Signature,
    committer: Signature,
    message: str,
) -> bytes:
    """The content of a commit object, built field by field so that nothing can be injected.

    Raises:
        StoreError: A name or address holds ``<``, ``>``, a newline or NUL, or the message a NUL.
    """
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {_signature(author)}", f"committer {_signature(committer)}"]
    if "\0" in message:
        raise StoreError("a commit message cannot hold a NUL byte")
    return ("\n".join(lines) + "\n\n" + message).encode(errors="surrogateescape")


def _signature(who: Signature) -> str:
    for text in (who.name, who.email):
        if any(bad in text for bad in "<>\n\0"):
            raise StoreError(
                f"a name or address in a commit cannot hold < > or a newline: {text!r}"
            )
    sign = "-" if who.offset < 0 else "+"
    hours, minutes = divmod(abs(who.offset), 60)
    return f"{who.name} <{who.email}> {who.time} {sign}{hours:02}{minutes:02}"


def decode_commit(commit: CommitId, data: bytes) -> Commit:
    """Read a commit object; headers that we do not know (gpgsig, encoding) are passed over.

    Raises:
        StoreError: The object is damaged.
    """
    head, _, message = data.decode(errors="surrogateescape").partition("\n\n")
    parents: list[CommitId] = []
    fields: dict[str, str] = {}
    for line in head.split("\n"):
        key, _, value = line.partition(" ")
        if key == "parent":
            parents.append(CommitId(parse_id(value)))
        elif key:
            fields.setdefault(key, value)
    try:
        return Commit(
            id=commit,
            tree=TreeId(parse_id(fields["tree"])),
            parents=tuple(parents),
            author=_parse_signature(fields["author"]),
            committer=_parse_signature(fields["committer"]),
            message=message,
        )
    except (KeyError, ValueError) as error:
        raise StoreError(f"damaged commit object {commit}; run git fsck") from error


def _parse_signature(text: str) -> Signature:
    who, _, when = text.rpartition("> ")
    name, _, email = who.partition(" <")
    seconds, _, zone = when.partition(" ")
    offset = int(zone[1:3]) * 60 + int(zone[3:5]) if len(zone) == 5 else 0
    return Signature(name, email, int(seconds), -offset if zone.startswith("-") else offset)
