"""Results of a stage, and the trees of a build: what it was given, what it made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import web

from datakit_ci.archive import Dossier
from datakit_ci.dashboard.api import records
from datakit_ci.dashboard.api.endpoint import Endpoint, reading, segment, streaming
from datakit_ci.dashboard.api.models import DirectoryRecord, Listing, Nothing, ResultRecord
from datakit_ci.dashboard.api.paging import Part, cut, decode_cursor, encode_cursor
from datakit_ci.dashboard.api.ranges import byte_range, range_headers
from datakit_ci.dashboard.api.states import BUILD, PROJECT, asked_build, asked_project
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import FileError, StoreError

__all__ = ["ENDPOINTS"]

_FAR = 5_000
"""Results among which a cursor is looked for."""

_FILES = frozenset((FileMode.NORMAL, FileMode.EXECUTABLE, FileMode.LINK))

_STALLED = 30.0
"""Seconds after which a client that does not read is cut off."""


async def list_results(request: web.Request, part: Part) -> Listing[ResultRecord]:
    """List the recorded results of a stage, the newest first."""
    results = source_of(request).results(asked_project(request), segment(request, "stage"))
    try:
        await _skip(results, decode_cursor(part.cursor) if part.cursor else None)
        found: list[Dossier] = []
        async for dossier in results:
            if len(found) == part.limit:
                items = [records.result_record(each) for each in found]
                return Listing(items=items, next=encode_cursor(_key(found[-1])))
            found.append(dossier)
    finally:
        await finish(results)
    return Listing(items=[records.result_record(each) for each in found], next=None)


async def _skip(results: AsyncIterator[Dossier], after: tuple[str, ...] | None) -> None:
    """Go on to what follows ``after``.

    Raises:
        HTTPBadRequest: It is not there (any more).
    """
    if after is None:
        return
    looked = 0
    async for dossier in results:
        looked += 1
        if _key(dossier) == after:
            return
        if looked >= _FAR:
            break
    raise web.HTTPBadRequest(text="parameter cursor: what it was about is gone; begin again")


def _key(dossier: Dossier) -> tuple[str, ...]:
    build = dossier.state.id
    return dossier.commit or "", build.static, build.key


async def list_root(request: web.Request, part: Part) -> DirectoryRecord:
    """List the root of a tree: what a build was given, what it made, or its test reports."""
    dossier, root = await _tree(request)
    return await _listing(request, dossier, Entry(FileMode.DIRECTORY, root), "", part)


async def list_directory(request: web.Request, part: Part) -> DirectoryRecord:
    """List a directory of a tree."""
    dossier, root = await _tree(request)
    entry = await _entry(request, dossier, root)
    if not entry.is_directory:
        raise web.HTTPNotFound(text="That is a file, not a directory.")
    return await _listing(request, dossier, entry, segment(request, "path"), part)


async def _tree(request: web.Request) -> tuple[Dossier, TreeId]:
    """The tree that the address names.

    Raises:
        HTTPNotFound: There is no such build, or it has no such tree.
    """
    dossier = await source_of(request).dossier(asked_build(request))
    if dossier is None:
        raise web.HTTPNotFound(text="There is no such build; its record may have been dropped.")
    state = dossier.state
    trees = {"input": state.input, "output": state.output, "reports": dossier.reports}
    root = trees[segment(request, "which")]
    if root is None:
        raise web.HTTPNotFound(text="The build has no such tree (yet).")
    return dossier, root


async def _entry(request: web.Request, dossier: Dossier, root: TreeId) -> Entry:
    """What is at the path in the address; raises ``HTTPNotFound``."""
    try:
        entry = await dossier.objects.entry(root, segment(request, "path"))
    except (StoreError, FileError):
        entry = None
    if entry is None:
        raise web.HTTPNotFound(text="There is no such file or directory in the tree.")
    return entry


async def _listing(
    request: web.Request, dossier: Dossier, directory: Entry, path: str, part: Part
) -> DirectoryRecord:
    try:
        entries = await dossier.objects.tree(TreeId(directory.id))
    except StoreError as error:
        raise web.HTTPNotFound(text="The tree is not in the database any more.") from error
    shown, following = cut(sorted(entries), part, lambda name: (name,))
    which, prefix = segment(request, "which"), f"{path}/" if path else ""
    items = [
        records.file_record(dossier.state.id, which, prefix + name, entries[name]) for name in shown
    ]
    return DirectoryRecord(id=directory.id, items=items, next=following)


async def send_file(request: web.Request, _: Nothing) -> web.StreamResponse:
    """Send a file of a tree, or a range of its bytes."""
    dossier, root = await _tree(request)
    entry = await _entry(request, dossier, root)
    if entry.mode not in _FILES:
        raise web.HTTPNotFound(text="That is no file.")
    blob = BlobId(entry.id)
    size = await dossier.objects.blob_size(blob)
    etag = hashlib.sha256(entry.id.encode()).hexdigest()[:32]
    kept = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
    if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=kept)
    wanted = byte_range(request.headers.get("Range", ""), size)
    response = web.StreamResponse(
        status=200 if wanted is None else 206,
        headers={
            **kept,
            **range_headers(wanted, size),
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
    start, end = wanted or (0, size)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(request, response, dossier.objects.stream_blob(blob, start, end - start))
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> None:
    try:
        async for piece in pieces:
            async with asyncio.timeout(_STALLED):
                await response.write(piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # so that half a file does not look whole
    finally:
        await finish(pieces)


_TREE = BUILD + "/artefacts/{which}"

ENDPOINTS: tuple[Endpoint, ...] = (
    reading(PROJECT + "/stages/{stage}/results", list_results, Listing[ResultRecord], Part),
    reading(_TREE, list_root, DirectoryRecord, Part),
    reading(_TREE + "/{path}", list_directory, DirectoryRecord, Part),
    streaming(
        BUILD + "/files/{which}/{path}",
        send_file,
        "application/octet-stream",
        Nothing,
        statuses={206: "The range that was asked for.", 416: "No byte of the range is there."},
        head=True,
    ),
)
"""What is recorded."""
