"""What a directory shows and how a file is shown: decided by names alone, nothing is read."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from datakit_core.client.api import Entry, FileMode, Tree

__all__ = ["IMAGES", "PAGE", "FileKind", "Listing", "kind_of", "listing"]

PAGE = 250
"""Names on one page of a directory."""

IMAGES: Final[Mapping[str, str]] = {
    "apng": "image/apng",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
"""Content types of the pictures that browsers show, by the end of the name."""


class FileKind(enum.Enum):
    """How a file is shown."""

    TEXT = "text"
    """As lines; also whatever has no known name, unless its beginning is not text."""
    IMAGE = "image"
    MARKDOWN = "markdown"
    HTML = "html"


def kind_of(name: str) -> FileKind:
    """How to show a file of this name."""
    match name.rpartition(".")[2].lower():
        case "md" | "markdown":
            return FileKind.MARKDOWN
        case "html" | "htm":
            return FileKind.HTML
        case end if end in IMAGES:
            return FileKind.IMAGE
        case _:
            return FileKind.TEXT


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a directory.

    Attributes:
        entries: Names with what they mean: directories first, each kind in Git's order.
        page: Which page, from 1 on.
        pages: How many there are, at least one.
        found: How many names match the search.
        total: How many names the directory has.
    """

    entries: tuple[tuple[str, Entry], ...]
    page: int
    pages: int
    found: int
    total: int

    @property
    def first(self) -> int:
        """The number of the first name shown; 0 if there are none."""
        return (self.page - 1) * PAGE + 1 if self.entries else 0

    @property
    def last(self) -> int:
        """The number of the last name shown."""
        return self.first + len(self.entries) - 1 if self.entries else 0


def listing(tree: Tree, page: int = 1, search: str = "") -> Listing:
    """Put a directory in order and take one page of it.

    Linear in the number of names, and quick: there may be hundreds of thousands.

    Args:
        tree: The directory.
        page: Which page; one beyond the last is the last.
        search: Text that names must have, whatever their case.
    """
    wanted = search.casefold()
    names = [name for name in tree if wanted in name.casefold()] if wanted else list(tree)
    above = [name for name in names if tree[name].mode is FileMode.DIRECTORY]
    below = [name for name in names if tree[name].mode is not FileMode.DIRECTORY]
    pages = max(1, -(-len(names) // PAGE))
    page = min(max(1, page), pages)
    shown = (above + below)[(page - 1) * PAGE : page * PAGE]
    entries = tuple((name, tree[name]) for name in shown)
    return Listing(entries, page, pages, len(names), len(tree))
