"""Running Git: with nobody to ask, no way to run what a URL says, and no secret on a command line.

Everything that Git starts (helpers for HTTP and SSH, packers) is in its own process group and ends
with it, however the caller ends.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from datakit_core.errors import InvalidArgument

__all__ = [
    "OPTIONS",
    "SCHEMES",
    "GitFailed",
    "check_url",
    "end_process",
    "environment",
    "reason",
    "run_git",
    "split_credentials",
    "without_credentials",
]

SCHEMES = ("https", "http", "ssh", "git", "file")
"""Schemes of URLs that Git may be given at all; others can run commands."""

_GRACE = 2.0
"""Seconds that Git gets to clean up."""

OPTIONS = (
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "core.fsync=all",  # the answer says that it is stored
    "-c", "core.hooksPath=/dev/null",
)  # fmt: skip
"""What every Git gets that works on our repository."""

_URL = re.compile(r"(?P<scheme>[a-z]+)://(?P<host>[^/]*)(?P<path>/.*)?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class GitFailed(Exception):
    """Git ended with an error; the text is what it said, without credentials.

    Attributes:
        output: What it had printed by then.
    """

    def __init__(self, text: str, output: str) -> None:
        """Say what Git said."""
        self.output = output
        super().__init__(text)


async def run_git(
    repository: Path,
    *arguments: str,
    given: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """What ``git arguments`` prints when it works on ``repository``.

    Args:
        repository: A bare repository.
        arguments: The command; user input only where Git takes no options, or behind ``--``.
        given: Its standard input.
        variables: Added to its environment, where other users cannot see them.

    Raises:
        GitFailed: It ended with an error.
    """
    process = await asyncio.create_subprocess_exec(
        "git", *OPTIONS, f"--git-dir={repository}", *arguments,
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment(), **(variables or {})},
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = await process.communicate(given)
    finally:
        await end_process(process)
    text = output.decode(errors="surrogateescape")
    if process.returncode != 0:
        said = reason(errors).replace(str(repository), "the database")
        raise GitFailed(said or f"git ended with {process.returncode}", text)
    return text


def check_url(url: str) -> None:
    """Refuse a URL that could make Git do anything but transfer objects.

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
            f"cannot use {without_credentials(url)!r}: give an absolute path or a URL "
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


def split_credentials(url: str) -> tuple[str, Mapping[str, str]]:
    """``url`` as it may be seen by others, and variables that tell Git the rest.

    Command lines can be read by every user of the machine, and Git passes a URL on to its helpers
    as it is. So user and password travel as a header that is part of the configuration in the
    environment (git-config(1), ``GIT_CONFIG_COUNT``), sent to this host only and never along a
    redirect.
    """
    parsed = _URL.fullmatch(url)
    if parsed is None or parsed["scheme"] not in ("http", "https") or "@" not in parsed["host"]:
        return url, {}
    shown = without_credentials(url)
    user, _, password = parsed["host"].rpartition("@")[0].partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode(errors="surrogateescape")
    settings = {
        f"http.{shown}.extraHeader": f"Authorization: Basic {base64.b64encode(pair).decode()}",
        "http.followRedirects": "false",
    }
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return shown, variables


def environment() -> dict[str, str]:
    """Ours, without Git's variables but for the trusted authorities, and with nobody to ask."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or key in ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
    }
    return inherited | {
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS": "true",
    }


def reason(errors: bytes) -> str:
    """The lines of Git's complaint that matter, without credentials.

    Part of it comes from the other side, so control characters go as well.
    """
    lines = errors.decode(errors="replace").splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    return _CONTROL.sub("?", without_credentials("; ".join((fatal or lines)[:3])))[:500]


async def end_process(process: asyncio.subprocess.Process) -> None:
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
