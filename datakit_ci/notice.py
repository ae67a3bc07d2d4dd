"""Notices, as a pipeline declares them: which people are told when something breaks or is fixed."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final

from datakit_ci.secrets import Secret
from datakit_ci.state import Status
from datakit_core.errors import ConfigError

__all__ = ["Mail", "Slack", "Verdict", "verdict_of"]

_ADDRESS: Final = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+\Z")
_SERVER: Final = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:(?P<port>[0-9]{1,5}))?\Z")
_PORT = 587
"""For submission of mail (RFC 6409)."""


@dataclass(frozen=True, slots=True)
class Slack:
    """A channel of Slack, Mattermost, Rocket.Chat or whatever takes the same messages.

    Attributes:
        url: Where its incoming webhook's address is: whoever has that can post, so it is a secret.
        projects: Of which projects; none: of all.
    """

    url: Secret
    projects: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        if not isinstance(self.url, Secret):
            raise ConfigError("Slack: say where the address is, as in url=Secret.file(PATH)")
        if isinstance(self.projects, str):
            raise ConfigError(f"{self}: projects is a list")

    def __str__(self) -> str:
        """By where its address is."""
        return f"Slack({self.url})"

    @property
    def id(self) -> str:
        """Names it in the database, without telling where it is."""
        return _id(f"slack {self.url} {sorted(self.projects)}")


@dataclass(frozen=True, slots=True)
class Mail:
    """People who are told by e-mail.

    Attributes:
        to: Addresses of those who are told of everything.
        smtp: ``HOST`` or ``HOST:PORT`` of the mail server; the port is 587 if not given.
        sender: The address in ``From:``.
        projects: Of which projects; none: of all.
        authors: Patterns of addresses, such as ``*@example.org``: an author whose address matches
            is told of what becomes of the commit on a branch. An address in a commit is whatever
            its author has written, so nobody else's is believed.
        user: Who logs in to the server; empty: nobody does.
        password: Where the password for that is.
        tls: Whether the connection has to be encrypted by STARTTLS before anything is said.
    """

    to: Sequence[str]
    smtp: str
    _: KW_ONLY
    sender: str
    projects: Sequence[str] = ()
    authors: Sequence[str] = ()
    user: str = ""
    password: Secret | None = None
    tls: bool = True

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        if any(isinstance(each, str) for each in (self.to, self.projects, self.authors)):
            raise ConfigError("Mail: to, projects and authors are lists")
        for address in (*self.to, self.sender):
            if not _ADDRESS.match(address) or not address.isascii():
                raise ConfigError(f"Mail: {address!r} is not an address such as ann@example.org")
        if not self.to and not self.authors:
            raise ConfigError("Mail: there is nobody to write to; give to= or authors=")
        if not _SERVER.match(self.smtp) or self.port > 65535:
            raise ConfigError(f"Mail: smtp: {self.smtp!r} is not of the form HOST or HOST:PORT")
        if bool(self.user) != isinstance(self.password, Secret):
            raise ConfigError("Mail: give both user= and password=Secret.file(PATH), or neither")
        if self.user and not self.tls:
            raise ConfigError("Mail: a password is not sent over a connection without tls")

    def __str__(self) -> str:
        """By its server."""
        return f"Mail by {self.smtp}"

    @property
    def id(self) -> str:
        """Names it in the database."""
        people = [sorted(self.to), sorted(self.authors), sorted(self.projects)]
        return _id(f"mail {self.smtp} {people}")

    @property
    def host(self) -> str:
        """Of the server."""
        return self._server("host", "").strip("[]")

    @property
    def port(self) -> int:
        """Of the server."""
        return int(self._server("port", str(_PORT)))

    def _server(self, part: str, default: str) -> str:
        match = _SERVER.match(self.smtp)
        return default if match is None else match[part] or default


class Verdict(enum.Enum):
    """What people are told of."""

    BROKEN = "broken"
    FIXED = "fixed"


def verdict_of(before: str | None, now: Status) -> Verdict | None:
    """What there is to say; nothing while it is still broken, or still well.

    Args:
        before: The status that was told last; none: nothing was.
        now: How it stands.
    """
    was_broken = before in (Status.FAILURE.value, Status.ERROR.value)
    match now:
        case Status.FAILURE | Status.ERROR if not was_broken:
            return Verdict.BROKEN
        case Status.SUCCESS if was_broken:
            return Verdict.FIXED
        case _:
            return None


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
