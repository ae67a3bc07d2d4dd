"""Reads HTML as a strict browser would, to find what must not be in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Page", "read_page"]

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
_BLOCKS = frozenset({"dd", "div", "dt", "h1", "h2", "h3", "li", "p", "td", "th", "title", "tr"})
_LINKS = frozenset({"action", "href", "src"})


@dataclass(slots=True)
class Page:
    """What a page is made of.

    Attributes:
        text: Everything between tags.
        links: Values of ``href``, ``src`` and ``action``.
        ids: Values of ``id``, with repetitions.
        tags: Names of elements, with repetitions.
        scripted: Elements or attributes that a strict Content-Security-Policy would refuse.
        broken: Tags that do not match.
    """

    text: str = ""
    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    scripted: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The text, with white space made single."""
        return " ".join(self.text.split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        page = self.page
        if tag in _BLOCKS:
            page.text += " "
        page.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in _LINKS:
                page.links.append(value or "")
            if name == "id":
                page.ids.append(value or "")
            if name.startswith("on") or name == "style":
                page.scripted.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            page.scripted.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.page.broken.append(tag)

    def handle_data(self, data: str) -> None:
        self.page.text += data

    def close(self) -> None:
        super().close()
        self.page.broken += self._open


def read_page(html: str) -> Page:
    """Take ``html`` apart."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page
