"""The moment that a page is about, and how links, forms and buttons of the page follow it.

A page of the past is made like any other. Afterwards each link to a page of ours gets the moment,
forms that look for something take it along, and forms that change something are cut out: in one
place, so that no page can forget.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final
from urllib.parse import quote

from datakit_ci.instant import print_instant

__all__ = ["AS_OF", "AsOf", "address_at", "keep_moment"]


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment that a page shows, and the ways from there.

    Attributes:
        moment: UTC.
        here: The address of the page now, without any moment.
        earlier: The moment before what the page is about last changed; none: it was new, or not
            there yet.
        later: When it changed next; none: not since.
    """

    moment: datetime
    here: str
    earlier: datetime | None = None
    later: datetime | None = None

    @property
    def at(self) -> str:
        """The moment as addresses have it."""
        return print_instant(self.moment)

    def moved(self, moment: datetime) -> str:
        """The address of the same page at another moment."""
        return address_at(self.here, print_instant(moment))


AS_OF: Final[ContextVar[AsOf | None]] = ContextVar("as_of", default=None)
"""Of the request that is being answered; none: it is about now."""

_TAG = re.compile(r"<(?:a|form)\b[^>]*>", re.IGNORECASE)
_HREF = re.compile(r'(\shref=")((?:/(?!/|static/)|\?)[^"]*)"')
_ACTING = re.compile(
    r'<form\b(?=[^>]*\smethod="post")(?![^>]*\sdata-always)[^>]*>.*?</form>',
    re.IGNORECASE | re.DOTALL,
)
_MOMENT = re.compile(r"[?&]at=")


def address_at(address: str, at: str) -> str:
    """``address`` with the moment ``at``; one that has a moment keeps it."""
    head, mark, fragment = address.partition("#")
    if _MOMENT.search(head):
        return address
    joint = "" if head.endswith(("?", "&")) else "&" if "?" in head else "?"
    return f"{head}{joint}at={quote(at, safe=':')}{mark}{fragment}"


def keep_moment(html: str, at: str) -> str:
    """A page whose links and forms stay at the moment ``at``, and which changes nothing.

    Left as they are: tags marked ``data-now``, which lead to the present, and forms marked
    ``data-always``, such as that for logging out.
    """

    def follow(match: re.Match[str]) -> str:
        tag = match[0]
        if "data-now" in tag or "data-always" in tag:
            return tag
        if tag[1:5].lower() == "form":
            return f'{tag}<input type="hidden" name="at" value="{escape(at)}">'
        return _HREF.sub(link, tag, count=1)

    def link(match: re.Match[str]) -> str:
        address = match[2].replace("&amp;", "&")
        return f'{match[1]}{address_at(address, at).replace("&", "&amp;")}"'

    return _TAG.sub(follow, _ACTING.sub("", html))
