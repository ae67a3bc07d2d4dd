"""A view of a repository: some of its refs, for whoever may not see them all.

Git would hide refs by configuration (``transfer.hideRefs``), but then goes through a list for each
of them, and what is not named in it is shown. A view is a repository of its own that lasts as long
as a request: it has the refs that may be seen and no others, and borrows the objects
(gitrepository-layout(5), ``objects/info/alternates``). What Git advertises, and what it thinks can
be reached, follows from these refs alone.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiohttp import web

from datakit_core.smart_http.backend import Call
from datakit_core.smart_http.exchange import Exchange, Limits, too_large

__all__ = ["Views", "make_view", "read_view"]

_log = logging.getLogger(__name__)

_SERVICE: Final = "git-upload-pack"

_CONFIG: Final = b"""[core]
\trepositoryformatversion = 0
\tbare = true
[uploadpack]
\tallowTipSHA1InWant = false
\tallowReachableSHA1InWant = false
\tallowAnySHA1InWant = false
\tallowRefInWant = false
\tallowFilter = false
"""
"""Written out, since the configuration of whoever runs the service counts as well."""


@asynccontextmanager
async def read_view(repository: Path, heads: Mapping[str, str]) -> AsyncIterator[Path]:
    """A repository with the branches ``heads`` of another one, while the context lasts.

    Args:
        repository: The bare repository that has the objects.
        heads: Commits by the names of their branches.
    """
    with tempfile.TemporaryDirectory(prefix="datakit-view-") as directory:
        view = Path(directory)
        await asyncio.to_thread(make_view, view, repository, heads)
        yield view


def make_view(view: Path, repository: Path, heads: Mapping[str, str]) -> None:
    """Make the directory ``view`` a repository; see :func:`read_view`."""
    (view / "refs").mkdir()
    (view / "objects" / "info").mkdir(parents=True)
    objects = (repository / "objects").resolve()
    (view / "objects" / "info" / "alternates").write_bytes(bytes(objects) + b"\n")
    (view / "config").write_bytes(_CONFIG)
    (view / "HEAD").write_bytes(b"ref: refs/heads/main\n")
    named = sorted(
        (f"refs/heads/{branch}".encode(errors="surrogateescape"), commit.encode())
        for branch, commit in heads.items()
    )
    lines = [b"# pack-refs with: peeled fully-peeled sorted \n"]
    lines += [b"%s %s\n" % (commit, ref) for ref, commit in named]
    (view / "packed-refs").write_bytes(b"".join(lines))


class Views:
    """Serves views of one repository for reading, to be mounted in an application of ours.

    Only the first version of Git's protocol is spoken: with a later one a client may name any
    object, whatever is advertised (gitprotocol-v2(5), ``fetch``). Clients fall back by themselves.
    """

    def __init__(self, repository: Path, limits: Limits | None = None) -> None:
        """Serve what is in ``repository``."""
        self._repository = repository
        self._limits = limits or Limits(body=32 << 20, seconds=300.0, at_once=4)
        self._running = 0

    async def advertise(self, request: web.Request, heads: Mapping[str, str]) -> web.StreamResponse:
        """Answer ``GET …/info/refs`` with ``heads``.

        Raises:
            HTTPForbidden: It is a push, or the old, dumb protocol.
        """
        if request.query.get("service") != _SERVICE or len(request.query) != 1:
            raise web.HTTPForbidden(text="this repository is read-only; fetch with a recent Git\n")
        return await self._answer(request, Call("GET", "/info/refs", f"service={_SERVICE}"), heads)

    async def transfer(self, request: web.Request, heads: Mapping[str, str]) -> web.StreamResponse:
        """Answer ``POST …/git-upload-pack`` with objects that ``heads`` lead to.

        Raises:
            HTTPException: The request is too large, or of another type.
        """
        if request.content_type != f"application/x-{_SERVICE}-request":
            raise web.HTTPUnsupportedMediaType
        if (request.content_length or 0) > self._limits.body:
            raise too_large(self._limits)
        call = Call("POST", f"/{_SERVICE}", content_type=request.content_type)
        if "Content-Encoding" not in request.headers:  # aiohttp unpacks it
            call = replace(call, length=request.content_length)
        return await self._answer(request, call, heads)

    async def _answer(
        self, request: web.Request, call: Call, heads: Mapping[str, str]
    ) -> web.StreamResponse:
        if self._running >= self._limits.at_once:
            raise web.HTTPServiceUnavailable(
                headers={"Retry-After": "2"}, text="too many clones at once; try again\n"
            )
        self._running += 1
        exchange = Exchange(request, self._limits)
        try:
            async with (
                asyncio.timeout(self._limits.seconds),
                read_view(self._repository, heads) as view,
            ):
                return await exchange.run(view, call, any_id=False)
        except TimeoutError:
            _log.warning("%s %s took over %g s", call.method, call.path, self._limits.seconds)
            return exchange.cut(web.HTTPGatewayTimeout(text="it took too long\n"))
        finally:
            self._running -= 1
