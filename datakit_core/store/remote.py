"""Bringing commits from other repositories, by Git itself.

A URL comes from a client, so it is checked against an allow-list, never reaches a shell, and
cannot ask anybody for a password. What is fetched is kept by a private ref, so that Git's
collection of garbage leaves it alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from datakit_core.errors import InvalidArgument, InvalidName, StoreError
from datakit_core.store.names import check_branch
from datakit_core.store.objects import CommitId, parse_id

__all__ = ["FETCHED", "SCHEMES", "Remotes", "check_url", "without_credentials"]

FETCHED = "refs/datakit/fetched/"
"""Where fetched refs are kept: below a digest of the URL, by their own full names."""

SCHEMES = ("https", "http", "ssh", "git", "file")
"""Schemes of URLs that Git may be given at all; others can run commands."""

_TIMEOUT = 600.0
_GRACE = 2.0
"""Seconds that Git gets to clean up."""

_OPTIONS = (
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "core.fsync=all",  # the answer says that it is stored
    "-c", "core.hooksPath=/dev/null",
)  # fmt: skip

_NOBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,  # credential helpers
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": "/nonexistent",  # .netrc, .git-credentials
}
"""Variables for a Git that knows none of our user's passwords."""

_URL = re.compile(r"(?P<scheme>[a-z]+)://(?P<host>[^/]*)(?P<path>/.*)?", re.DOTALL)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Remotes:
    """Fetches into one repository; one at a time from each URL."""

    def __init__(self, repository: Path, *, timeout: float = _TIMEOUT) -> None:
        """Fetch into ``repository``.

        Args:
            repository: The bare repository's directory.
            timeout: Seconds after which a fetch is given up.
        """
        self._repository = repository
        self._timeout = timeout
        self._busy: dict[str, tuple[asyncio.Lock, int]] = {}

    async def fetch(self, url: str, ref: str, *, anonymous: bool = False) -> CommitId:
        """Bring ``ref`` of ``url`` and its history here.

        Args:
            url: A URL with an allowed scheme, or an absolute path.
            ref: A full ref name, or the 40 digits of a commit where the other side allows that.
            anonymous: Whether passwords that our user has stored stay unused over HTTP.

        Raises:
            InvalidArgument: The URL or the ref is not allowed.
            StoreError: Git could not fetch it; says why, without credentials.
        """
        check_url(url)
        _check_ref(ref)
        digest = hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:16]
        kept = f"{FETCHED}{digest}/{ref}"
        async with self._turn(url):
            try:
                async with asyncio.timeout(self._timeout):
                    await self._git(
                        "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--force",
                        "--no-auto-maintenance", "--no-recurse-submodules", "--",
                        url, f"+{ref}:{kept}",
                        anonymous=anonymous and url.startswith("http"),
                    )  # fmt: skip
                    found = await self._git(
                        "rev-parse", "--verify", "--quiet", f"{kept}^{{commit}}"
                    )
            except TimeoutError:
                raise StoreError(
                    f"fetching {without_credentials(url)} took over {self._timeout:.0f} s"
                ) from None
            except _GitFailed as error:
                raise StoreError(
                    f"cannot fetch {ref} from {without_credentials(url)}: {error}"
                ) from None
        return CommitId(parse_id(found.strip()))

    @asynccontextmanager
    async def _turn(self, url: str) -> AsyncIterator[None]:
        lock, users = self._busy.get(url, (asyncio.Lock(), 0))
        self._busy[url] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._busy[url]
            if users == 1:
                del self._busy[url]
            else:
                self._busy[url] = (lock, users - 1)

    async def _git(self, *arguments: str, anonymous: bool = False) -> str:
        process = await asyncio.create_subprocess_exec(
            "git", *_OPTIONS, f"--git-dir={self._repository}", *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment() | (_NOBODY if anonymous else {}),
            start_new_session=True,
        )  # fmt: skip
        try:
            output, errors = await process.communicate()
        finally:
            await _end(process)
        if process.returncode != 0:
            reason = _reason(errors).replace(str(self._repository), "the database")
            raise _GitFailed(reason or f"git ended with {process.returncode}")
        return output.decode(errors="replace")


class _GitFailed(Exception):
    """What Git said."""


def check_url(url: str) -> None:
    """Refuse a URL that could make Git do anything but fetch.

    Raises:
        InvalidArgument: It has another scheme, is a relative path, or looks like an option.
    """
    if _CONTROL.search(url):
        raise InvalidArgument("a URL cannot hold control characters")
    if url.startswith("/"):
        return
    parsed = _URL.fullmatch(url)
    if parsed is None or parsed["scheme"] not in SCHEMES:
        raise InvalidArgument(
            f"cannot fetch from {without_credentials(url)!r}: give an absolute path or a URL "
            f"with one of the schemes {', '.join(SCHEMES)}"
        )
    host = parsed["host"].rpartition("@")[2]
    if (
        host.startswith("-")
        or parsed["host"].startswith("-")
        or (parsed["path"] or "").startswith("/-")
    ):
        raise InvalidArgument("a host, user or path cannot begin with a dash")


def without_credentials(url: str) -> str:
    """``url`` without user and password, for logs and errors."""
    return re.sub(r"//[^/\s]*@", "//", url)


def _check_ref(ref: str) -> None:
    if _COMMIT.match(ref):
        return
    if not ref.startswith("refs/") or ref.count("/") < 2:
        raise InvalidArgument(f"{ref!r} is not a full ref name such as refs/heads/main")
    try:
        check_branch(ref.removeprefix("refs/"))
    except InvalidName as error:
        raise InvalidArgument(f"{ref!r} is not a ref name") from error


def _environment() -> dict[str, str]:
    """Ours, without Git's variables, and with nobody to ask."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return inherited | {
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS": "true",
    }


def _reason(errors: bytes) -> str:
    """The lines of Git's complaint that matter, without credentials."""
    lines = errors.decode(errors="replace").splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    return without_credentials("; ".join((fatal or lines)[:3]))[:500]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what is left of Git, helpers included, when the caller gave up.

    Asked politely, Git removes its lock files and what it has half received.
    """
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await process.wait()
    with suppress(ProcessLookupError):  # helpers may outlive Git itself
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
