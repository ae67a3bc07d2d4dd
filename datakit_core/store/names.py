"""Names of files and branches: what may be created, and what must be refused.

A name that was there before (pushed by Git, made by another tool) can still be read; these rules
hold for what is made through DataKit, so that a later ``git checkout``, on any system, cannot be
led outside its directory or into ``.git``. Pure: text in, text or error out.
"""

from __future__ import annotations

import re

from datakit_core.errors import InvalidArgument, InvalidName

__all__ = [
    "MAX_DEPTH",
    "check_branch",
    "check_file_name",
    "check_path",
    "is_git_disguise",
    "join",
    "split_path",
]

MAX_DEPTH = 256
"""Directories below one another; far below what recursion over trees can take."""

_MAX_FILE_NAME = 255
"""Bytes; the limit of the file systems that a tree may be checked out to."""

_MAX_BRANCH = 1024
_MAX_BRANCH_PART = 250
"""Bytes; a part becomes a file name, with ``.lock`` behind it while it is being written."""

_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Code points that HFS+ drops when it compares names (Git's ``is_hfs_dotgit``)."""

_PLAIN = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,200}")
"""Names that are certainly allowed, told by one look: most are such."""

_NOT_INSIDE = frozenset(("", ".", ".."))

_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")


def split_path(path: str) -> tuple[str, ...]:
    """The components of ``path``; the empty path is the root.

    Raises:
        InvalidArgument: A component is empty, ``.`` or ``..``.
    """
    if not path:
        return ()
    parts = tuple(path.split("/"))
    if not _NOT_INSIDE.isdisjoint(parts):
        raise InvalidArgument(f"not a path inside the tree: {path!r}")
    return parts


def join(directory: str, name: str) -> str:
    """The path of ``name`` in ``directory``, where ``""`` is the root."""
    return f"{directory}/{name}" if directory else name


def check_path(path: str) -> tuple[str, ...]:
    """The components of a path that is to be created, each of them checked."""
    parts = split_path(path)
    if len(parts) > MAX_DEPTH:
        raise InvalidArgument(f"a path may have at most {MAX_DEPTH} directories")
    for part in parts:
        check_file_name(part)
    return parts


def check_file_name(name: str) -> None:
    """Refuse what must not become a tree entry.

    Raises:
        InvalidArgument: The name is empty, ``.`` or ``..``, too long, holds ``/``, NUL or a
            backslash (a separator on Windows), or stands for ``.git`` on some file system.
    """
    if _PLAIN.fullmatch(name):
        return
    if name in ("", ".", "..") or any(bad in name for bad in "/\0\\"):
        raise InvalidArgument(f"not a file name: {name!r}")
    if len(name.encode(errors="surrogateescape")) > _MAX_FILE_NAME:
        raise InvalidArgument(f"a file name may have at most {_MAX_FILE_NAME} bytes")
    if is_git_disguise(name):
        raise InvalidArgument(f"{name!r} stands for .git on some file systems")


def is_git_disguise(name: str) -> bool:
    """Whether some file system takes ``name`` for ``.git``.

    HFS+ ignores case and some code points; NTFS ignores case and what trails (dots, spaces, a
    ``:stream``), and knows ``git~1`` as the short name (CVE-2014-9390, CVE-2019-1353).
    """
    seen = _HFS_IGNORED.sub("", name).casefold()
    return seen.partition(":")[0].rstrip(". ") in (".git", "git~1")


def check_branch(name: str) -> str:
    """Refuse what cannot be the branch ``refs/heads/NAME``; returns ``name``.

    The rules are git-check-ref-format(1), and those of git-branch(1): no leading dash, not
    ``HEAD``. A full ref name is taken for a mistake.

    Raises:
        InvalidName: With the rule that is broken.
    """
    reason = _broken_rule(name)
    if reason is not None:
        raise InvalidName(f"not a branch name: {name!r}: {reason}")
    return name


def _broken_rule(name: str) -> str | None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if not name or name in ("@", "HEAD") or name.startswith(("-", "refs/")):
        return "it is empty, @, HEAD, or begins with a dash or refs/"
    if size > _MAX_BRANCH:
        return f"it has more than {_MAX_BRANCH} bytes"
    if _BAD_IN_REF.search(name) or ".." in name or "@{" in name or name.endswith("."):
        return "it holds a space, a control character, ~ ^ : ? * [ \\ or .. or @{, or ends in a dot"
    return _broken_part(name.split("/"))


def _broken_part(parts: list[str]) -> str | None:
    for part in parts:
        if not part or part.startswith(".") or part.endswith(".lock"):
            return "a part between slashes is empty, begins with a dot or ends in .lock"
        if len(part.encode()) > _MAX_BRANCH_PART:
            return f"a part has more than {_MAX_BRANCH_PART} bytes"
    return None
