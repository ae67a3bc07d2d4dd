"""``git http-backend``: one process for each request, spoken to by CGI (RFC 3875).

What is received is quarantined by Git itself (git-receive-pack(1)): objects become part of the
repository only when all of them have been checked, and each ref moves from where Git has seen it
or not at all. So a push is one more writer beside the server, and as careful.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from datakit_core.store.git import OPTIONS, end_process, environment, reason

__all__ = ["Backend", "BadAnswer", "Body", "Call", "Head"]

_log = logging.getLogger(__name__)

_PIECE = 1 << 16
_HEAD = 1 << 14
"""Bytes that the head of an answer may have; Git's have some hundred."""


@dataclass(frozen=True, slots=True)
class Call:
    """What Git is asked.

    Attributes:
        method: ``GET`` or ``POST``.
        path: ``/info/refs`` and so on.
        query: What follows a ``?``.
        content_type: Of the body.
        length: Of the body in bytes, if it is known.
        protocol: The ``Git-Protocol`` header; empty for the first version.
        pushing: Whether the caller may push.
    """

    method: str
    path: str
    query: str = ""
    content_type: str = ""
    length: int | None = None
    protocol: str = ""
    pushing: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]


class BadAnswer(Exception):
    """Git ended without an answer."""


class Body(Protocol):
    """Where the body of a request comes from."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces."""
        ...


class Backend:
    """A running ``git http-backend``; made by :meth:`run`."""

    def __init__(self, process: Process) -> None:
        """Speak to ``process``."""
        self._process = process

    @classmethod
    @asynccontextmanager
    async def run(
        cls, repository: Path, call: Call, *, any_id: bool, longest: int
    ) -> AsyncIterator[Backend]:
        """Start it; whatever is left of it and its children ends with the context.

        Args:
            repository: The bare repository.
            call: What is asked.
            any_id: Whether objects may be fetched by any id.
            longest: Bytes that a pack may have that is pushed.
        """
        process = await asyncio.create_subprocess_exec(
            "git", *OPTIONS, *_settings(any_id, longest, pushing=call.pushing), "http-backend",
            stdin=DEVNULL if call.method == "GET" else PIPE, stdout=PIPE, stderr=PIPE,
            env=environment() | _variables(repository, call),
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as tasks:
                complaints = tasks.create_task(_complaints(process))
                try:
                    yield cls(process)
                finally:
                    complaints.cancel()
        finally:
            await end_process(process)

    def stop(self) -> None:
        """Let it end without an answer."""
        if self._process.returncode is None:
            self._process.kill()

    async def feed(self, body: Body) -> None:
        """Hand the body of the request on; Git may end before it has read all of it."""
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            async for piece in body:
                stdin.write(piece)
                await stdin.drain()
            stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            return

    async def head(self) -> Head:
        """The head of the answer.

        Raises:
            BadAnswer: There is none.
        """
        stdout = self._process.stdout
        assert stdout is not None, "it is a pipe"
        try:
            raw = await stdout.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise BadAnswer from error
        headers = dict(_fields(raw))
        status = headers.pop("status", "200")
        return Head(int(status.split()[0]), headers)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The rest of the answer."""
        stdout = self._process.stdout
        assert stdout is not None, "it is a pipe"
        while piece := await stdout.read(_PIECE):
            yield piece

    async def succeeded(self) -> bool:
        """Wait for its end; whether it was a good one."""
        return await self._process.wait() == 0


def _settings(any_id: bool, longest: int, *, pushing: bool) -> Iterator[str]:
    """Configuration for this request, which goes before what the repository's own file says."""
    settings = {
        "http.getAnyFile": "false",  # the old, dumb protocol
        "http.receivePack": str(pushing).lower(),
        "receive.autoGC": "false",
        "receive.denyCurrentBranch": "ignore",  # a bare repository has none
        "receive.denyDeleteCurrent": "ignore",
        "receive.fsckObjects": "true",
        "receive.maxInputSize": str(longest),
        "transfer.hideRefs": "refs/datakit",
        "uploadpack.allowAnySHA1InWant": str(any_id).lower(),
    }
    for name, value in settings.items():
        yield "-c"
        yield f"{name}={value}"


def _variables(repository: Path, call: Call) -> dict[str, str]:
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROJECT_ROOT": str(repository),
        "GIT_PROTOCOL": call.protocol,
        "PATH_INFO": call.path,
        "QUERY_STRING": call.query,
        "REMOTE_ADDR": "",
        "REMOTE_USER": "datakit" if call.pushing else "",
        "REQUEST_METHOD": call.method,
    }
    if call.content_type:
        variables["CONTENT_TYPE"] = call.content_type
    if call.length is not None:
        variables["CONTENT_LENGTH"] = str(call.length)
    return variables


def _fields(raw: bytes) -> Iterator[tuple[str, str]]:
    for line in raw.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


async def _complaints(process: Process) -> None:
    """Log what Git says on its standard error, as far as it is bounded."""
    assert process.stderr is not None, "it is a pipe"
    while errors := await process.stderr.read(_HEAD):
        _log.debug("git http-backend: %r", reason(errors))
