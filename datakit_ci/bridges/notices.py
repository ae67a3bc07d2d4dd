"""Notices to people: a line in a chat or a short mail, when a target breaks or is fixed.

Nothing is said while a target is still broken, or still well; nor of what was cancelled or waits.
A message is sent until it is taken, as a webhook's is, so one may come twice if the connection
fails just after it was taken; its ``Message-ID`` is then the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import smtplib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from email.message import EmailMessage
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from datakit_ci.bridges.courier import Mark, Outcome
from datakit_ci.bridges.posting import page_of, plain, post
from datakit_ci.notice import Mail, Slack, Verdict, verdict_of
from datakit_ci.secrets import Secret
from datakit_ci.state import BuildId, JobState, Status, TargetState
from datakit_ci.target import TargetKind
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError, DatakitError

__all__ = ["Channel", "Mailbox", "first_error"]

_log = logging.getLogger(__name__)

FirstError: TypeAlias = Callable[[BuildId], Awaitable[str]]
"""The first line of a build's log that looks like an error; empty: none does."""

_PATIENCE = 15.0
"""Seconds for each answer of a mail server."""

_READ = 1 << 20
"""Bytes of a log that are looked through for an error."""

_LONGEST = 200
"""Characters of a line that is told."""

_MOST_JOBS = 5
_PERMANENT = 500
"""Replies of a mail server from here on mean that it is no use to try again (RFC 5321, 4.2.1)."""

_ERROR: Final = re.compile(rb"(?i)\b(error|failed|failure|fatal|exception|panic)\b|^E  ")
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_SPACE: Final = re.compile(r"\s+")


async def first_error(log: AsyncGenerator[bytes, None]) -> str:
    """The first line that looks like an error, for people; empty if none does, or it comes late."""
    read, rest = 0, b""
    async with aclosing(log):
        async for piece in log:
            *lines, rest = (rest + piece).split(b"\n")
            if found := next(filter(None, map(_error_in, lines)), ""):
                return found
            read += len(piece)
            if read > _READ:
                return ""
    return _error_in(rest)


def _error_in(raw: bytes) -> str:
    """The line, if it looks like an error; what a log shows of its command does not count."""
    line = _COLOUR.sub(b"", raw)
    is_error = _ERROR.search(line) and not line.startswith(b"$ ")
    return _line(line.decode(errors="replace")) if is_error else ""


def _line(text: str) -> str:
    """One short line, whatever it was."""
    short = _SPACE.sub(" ", plain(text)).strip()
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


async def _lines(state: TargetState, first: FirstError) -> Sequence[str]:
    """What is wrong, a line for each job."""
    if state.problem:
        return [_line(state.problem)]
    broken = [job for job in state.jobs if job.status in (Status.FAILURE, Status.ERROR)]
    lines = [await _about(job, first) for job in broken[:_MOST_JOBS]]
    more = len(broken) - _MOST_JOBS
    return [*lines, f"and {more} more"] if more > 0 else lines


async def _about(job: JobState, first: FirstError) -> str:
    found = ""
    if job.builds:
        try:
            found = await first(job.builds[-1])
        except DatakitError as error:
            _log.info("the log of %s cannot be read: %s", job.builds[-1].path, error)
    return _line(f"{job.name}: {found or job.description or job.status.value}")


def _title(state: TargetState) -> str:
    target = state.target
    kind = "pull request #" if target.kind is TargetKind.PULL_REQUEST else ""
    return _line(f"{target.project} {kind}{target.name}")


def _verdict(state: TargetState, told: Mark | None, projects: Sequence[str]) -> Verdict | None:
    if state.head is None or (projects and state.target.project not in projects):
        return None
    return verdict_of(None if told is None else told.status, state.status)


def _read(secret: Secret, whose: object) -> str:
    value = secret.read()
    if value is None:
        raise ConfigError(f"{whose}: {secret} is not there")
    return value.decode(errors="replace")


class Channel:
    """One chat, as a :class:`~datakit_ci.bridges.courier.Recipient`."""

    def __init__(
        self, slack: Slack, base_url: str, session: aiohttp.ClientSession, first: FirstError
    ) -> None:
        """Write to ``slack``; pages are below ``base_url``."""
        self._slack = slack
        self._base = base_url
        self._session = session
        self._first = first
        self._url = ""

    @property
    def id(self) -> str:
        """As configured."""
        return self._slack.id

    @property
    def title(self) -> str:
        """By where its address is; not by the address."""
        return str(self._slack)

    async def prepare(self) -> None:
        """Read the address; raises ``ConfigError``, which does not tell it."""
        url = await asyncio.to_thread(_read, self._slack.url, self._slack)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{self._slack}: what is there is not of the form https://HOST/PATH")
        self._url = url

    def is_news(self, state: TargetState, told: Mark | None) -> bool:
        """Whether it has broken, or been fixed."""
        return _verdict(state, told, self._slack.projects) is not None

    async def tell(self, state: TargetState, told: Mark | None) -> Outcome:
        """Post one message."""
        verdict = _verdict(state, told, self._slack.projects)
        assert verdict is not None
        link = f"<{page_of(self._base, state.target)}|{_escaped(_title(state))}>"
        lines = [f"*{verdict.value}*: {link}"]
        if verdict is Verdict.BROKEN:
            lines += [f"• {_escaped(line)}" for line in await _lines(state, self._first)]
        body = json.dumps({"text": "\n".join(lines)}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "datakit-ci"}
        return await post(self._session, self._url, body, headers, self.title)


def _escaped(text: str) -> str:
    """Text that is neither link nor mention (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Mailbox:
    """Those who are told by mail, as a :class:`~datakit_ci.bridges.courier.Recipient`."""

    def __init__(
        self,
        mail: Mail,
        base_url: str,
        first: FirstError,
        author: Callable[[CommitId], Awaitable[str]],
    ) -> None:
        """Write to those of ``mail``; ``author`` says the address of a commit's author."""
        self._mail = mail
        self._base = base_url
        self._first = first
        self._author = author
        self._password = ""

    @property
    def id(self) -> str:
        """As configured."""
        return self._mail.id

    @property
    def title(self) -> str:
        """By its server."""
        return str(self._mail)

    async def prepare(self) -> None:
        """Read the password; raises ``ConfigError``."""
        if self._mail.password is not None:
            self._password = await asyncio.to_thread(_read, self._mail.password, self._mail)

    def is_news(self, state: TargetState, told: Mark | None) -> bool:
        """Whether it has broken, or been fixed."""
        return _verdict(state, told, self._mail.projects) is not None

    async def tell(self, state: TargetState, told: Mark | None) -> Outcome:
        """Send one message to all."""
        verdict = _verdict(state, told, self._mail.projects)
        assert verdict is not None
        people = await self._people(state)
        if not people:
            return Outcome.TAKEN
        message = await self._message(state, verdict, people)
        return await asyncio.to_thread(self._send, message, people)

    async def _people(self, state: TargetState) -> Sequence[str]:
        """Whom to write to; an author only of a branch: anybody can open a pull request."""
        people = dict.fromkeys(self._mail.to)
        if self._mail.authors and state.head and state.target.kind is TargetKind.BRANCH:
            try:
                author = await self._author(state.head)
            except DatakitError as error:
                _log.info("the author of %s cannot be read: %s", state.head, error)
                author = ""
            if _is_address(author) and any(
                fnmatchcase(author, each) for each in self._mail.authors
            ):
                people[author] = None
        return list(people)

    async def _message(
        self, state: TargetState, verdict: Verdict, people: Sequence[str]
    ) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._mail.sender
        message["To"] = ", ".join(people)
        message["Subject"] = f"[{verdict.value}] {_title(state)}"
        message["Date"] = formatdate()
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers by machines, please
        news = repr((self.id, state.target, state.head, verdict, state.updated)).encode()
        domain = self._mail.sender.rpartition("@")[2]
        message["Message-ID"] = f"<{hashlib.sha256(news).hexdigest()[:32]}@{domain}>"
        lines = [f"{_title(state)} is {verdict.value}.", ""]
        if verdict is Verdict.BROKEN:
            lines += [*await _lines(state, self._first), ""]
        lines += [f"{(state.head or '')[:12]} {_line(state.subject)}"]
        lines += [page_of(self._base, state.target)]
        message.set_content("\n".join(lines) + "\n")
        return message

    def _send(self, message: EmailMessage, people: Sequence[str]) -> Outcome:
        """Runs in a thread."""
        mail = self._mail
        try:
            with smtplib.SMTP(mail.host, mail.port, timeout=_PATIENCE) as server:
                if mail.tls:
                    server.starttls(context=ssl.create_default_context())
                if mail.user:
                    server.login(mail.user, self._password)
                refused = server.send_message(message, to_addrs=people)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return self._judged(min(codes, default=0))
        except smtplib.SMTPAuthenticationError:  # no fault of the message, which waits
            _log.warning("%s does not let %s log in; is the password right?", self.title, mail.user)
            return Outcome.AWAY
        except smtplib.SMTPResponseException as error:
            return self._judged(error.smtp_code)
        except (smtplib.SMTPException, OSError) as error:
            _log.info("%s is away: %s", self.title, type(error).__name__)
            return Outcome.AWAY
        for person in refused:  # the others have it
            _log.warning("%s does not take mail for %s", self.title, person)
        return Outcome.TAKEN

    def _judged(self, code: int) -> Outcome:
        _log.info("%s answered with code %d", self.title, code)
        return Outcome.REFUSED if code >= _PERMANENT else Outcome.AWAY


def _is_address(text: str) -> bool:
    return bool(re.fullmatch(r"[!-~]+@[A-Za-z0-9.-]+", text)) and not set(text) & set(
        "<>,;:\"'()[]\\"
    )
