"""Markdown from strangers as HTML that can do nothing: no HTML of theirs, no scripts, no forms.

Twice over: markdown-it escapes all HTML and refuses links of other schemes, and what it makes is
cleaned by nh3, which knows nothing of Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

__all__ = ["LONGEST", "render_markdown"]

LONGEST = 256 << 10
"""Bytes of a file that is rendered; a longer one is shown as text."""

_TAGS: Final = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img",
    "li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES: Final = {"a": {"href", "title"}, "img": {"src", "alt", "title"}, "ol": {"start"}}
_SCHEMES: Final = {"http", "https", "mailto"}

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|[\\#?]", re.IGNORECASE)
"""How an address begins that is no file of the tree."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def render_markdown(text: str, root: str) -> Markup:
    """Make HTML of ``text``.

    Links to files are relative to the page, as they are to the file; one that begins with a slash
    begins at the tree's root. Pictures of the tree are shown; those of other hosts become links.

    Args:
        text: The file.
        root: The address of the tree's root.
    """
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.children:
            token.children = [_local(child, root) for child in token.children]
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    clean = nh3.clean(
        str(html),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 - it has just been cleaned


def _local(token: Token, root: str) -> Token:
    """A link or picture with an address that leads to where it should."""
    if token.type == "link_open":
        token.attrSet("href", _within(str(token.attrGet("href") or ""), root))
    elif token.type == "image":
        address = str(token.attrGet("src") or "")
        if _ELSEWHERE.match(address):
            return Token("text", "", 0, content=f"[{_alternative(token.children)}: {address}]")
        token.attrSet("src", f"{_within(address, root).partition('?')[0]}?raw")
    return token


def _within(address: str, root: str) -> str:
    is_rooted = address.startswith("/") and not address.startswith("//")
    return f"{root}{address}" if is_rooted else address


def _alternative(children: Sequence[Token] | None) -> str:
    return "".join(child.content for child in children or ()) or "picture"
