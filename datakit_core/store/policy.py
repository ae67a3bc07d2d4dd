"""Which repositories a server fetches from when its clients ask it to.

A fetch is done by the server, with the rights of the server's user: with this user's files, keys
and stored passwords. A client of the same user gains nothing by that. Any other client would, so
what it may name is a list that whoever runs the server has written.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self
from urllib.parse import unquote

from datakit_core.errors import ConfigError, NotPermitted
from datakit_core.store.git import SCHEMES, check_url, without_credentials

__all__ = ["ANYTHING", "FOR_OTHERS", "FetchPolicy"]

_FILE = "file"
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched, and as whom.

    Attributes:
        schemes: Schemes of URLs that are allowed whatever follows; never ``file``.
        local: Patterns of paths on the server's machine; ``*`` matches slashes too.
        anonymous: Whether passwords that the server's user has stored stay unused over HTTP.
    """

    schemes: frozenset[str]
    local: tuple[str, ...]
    anonymous: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list such as ``https,ssh,file:/srv/git/*``; ``none`` allows nothing.

        ``file`` alone allows every repository that the server's user can read.

        Raises:
            ConfigError: An item is neither a scheme nor ``file:`` and an absolute pattern.
        """
        schemes, local = set(), []
        for item in [item.strip() for item in text.split(",") if item.strip() not in ("", "none")]:
            scheme, colon, pattern = item.partition(":")
            if scheme == _FILE and (pattern.startswith("/") or not colon):
                local.append(_resolved(pattern or "/*"))
            elif item in SCHEMES:
                schemes.add(item)
            else:
                raise ConfigError(
                    f"{item!r} is none of {', '.join(SCHEMES)}, file:/PATTERN and none",
                    "--allow-fetch",
                )
        return cls(frozenset(schemes), tuple(local))

    def admit(self, url: str) -> str:
        """What to give Git for ``url``: local paths without links that lead elsewhere.

        Looks at the file system, so it may block.

        Raises:
            InvalidArgument: It is no URL to fetch from.
            NotPermitted: It is not allowed; says what would allow it.
        """
        check_url(url)
        path = _local_path(url)
        if path is None:
            scheme = url.partition("://")[0]
            if scheme not in self.schemes:
                raise _refusal(url, scheme)
            return url
        real = os.path.realpath(path)
        if not any(fnmatchcase(real, pattern) for pattern in self.local):
            raise _refusal(url, f"{_FILE}:{path}")
        return real


ANYTHING = FetchPolicy(frozenset(SCHEMES) - {_FILE}, ("*",), anonymous=False)
"""For clients that have the rights of the server's user anyway."""

FOR_OTHERS = FetchPolicy(frozenset({"https"}), ())
"""For all others, unless whoever runs the server says something else."""


def _refusal(url: str, remedy: str) -> NotPermitted:
    return NotPermitted(
        f"this server does not fetch {without_credentials(url)} for clients from the network; "
        f"start it with --allow-fetch {remedy}, or connect to it over a Unix socket as its user"
    )


def _local_path(url: str) -> str | None:
    """The path that Git would open for ``url``; none if it would open a connection."""
    if url.startswith("/"):
        path = url
    elif url.startswith("file://"):
        # Git decodes percent signs, and takes a host for a part of the path.
        path = unquote(url.removeprefix("file://"), errors="surrogateescape")
        check_url(f"/{path}")
    else:
        return None
    return "/" + path.lstrip("/")


def _resolved(pattern: str) -> str:
    """``pattern`` with links followed in the directories before its first wild card."""
    wild = _WILD.search(pattern)
    if wild is None:
        return os.path.realpath(pattern)
    fixed, slash, name = pattern[: wild.start()].rpartition("/")
    real = os.path.realpath(fixed or "/")
    return f"{real.rstrip('/')}{slash}{name}{pattern[wild.start() :]}"
