"""The trees of a build: what it was given, what it made, its reports; and each file in them.

An address begins with a build, which the reader must be allowed to see, and names its way down
from there. Links are shown and never followed, so no way leads out of a tree.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from datakit_ci.archive import Dossier, Objects
from datakit_ci.dashboard import zipping
from datakit_ci.dashboard.addressed import number_in
from datakit_ci.dashboard.files import IMAGES, FileKind, kind_of, listing
from datakit_ci.dashboard.found import BUILD, find_dossier
from datakit_ci.dashboard.guard import HEADERS
from datakit_ci.dashboard.markdown import LONGEST, render_markdown
from datakit_ci.dashboard.rendering import PAGES, path_of
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.sending import (
    FRAMED,
    Body,
    disposition,
    is_known,
    send_blob,
    send_pieces,
)
from datakit_ci.dashboard.source import finish
from datakit_ci.dashboard.textfile import read_text
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import UnknownObject

__all__ = ["ROUTES", "Side", "show_path", "tree_of"]

_LARGEST_IMAGE = 32 << 20
"""Bytes of a picture that is shown at once."""

_FAR = 500
"""Results among which the one with a certain tree is looked for."""

_LONGEST_LINK = 4096
"""Bytes of a link's target that are shown: more than any system follows (PATH_MAX)."""


class Side(enum.Enum):
    """Which tree of a build."""

    INPUT = "input"
    OUTPUT = "output"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a tree of a build.

    Attributes:
        dossier: Of which build.
        side: Which tree.
        root: That tree.
        path: Where in it; ``""`` is the root.
        entry: What is there.
        pinned: Whether the address says which tree it is about.
    """

    dossier: Dossier
    side: Side
    root: TreeId
    path: str
    entry: Entry
    pinned: bool

    @property
    def objects(self) -> Objects:
        """Reads it."""
        return self.dossier.objects

    @property
    def name(self) -> str:
        """The last part of the path; of a root, what it is the root of."""
        name = self.path.rpartition("/")[2]
        return name or f"{self.dossier.state.id.stage.replace('/', '-')}-{self.side.value}"

    @property
    def base(self) -> str:
        """The address of the tree's root."""
        return f"{path_of('build', self.dossier.state.id.path)}/{self.side.value}"

    @property
    def address(self) -> str:
        """The address of this place."""
        return f"{self.base}{path_of(self.path)}" if self.path else self.base

    @property
    def above(self) -> str:
        """The address of the directory that this is in."""
        return (
            f"{self.base}{path_of(above)}" if (above := self.path.rpartition("/")[0]) else self.base
        )

    @property
    def permalink(self) -> str:
        """The address of this place in this very tree, also when the build is made again."""
        return f"{self.address}?tree={self.root}"

    def to(self, address: str, *query: str) -> str:
        """A link that stays in this very tree if the address of this page does."""
        words = [word for word in (*query, f"tree={self.root}" if self.pinned else "") if word]
        return f"{address}?{'&'.join(words)}" if words else address

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The way here: names with the addresses below the root's."""
        names = self.path.split("/") if self.path else []
        return [(name, path_of(*names[: n + 1])) for n, name in enumerate(names)]


def tree_of(dossier: Dossier, side: Side) -> TreeId | None:
    """One of a build's trees; none if it has none, or not yet."""
    match side:
        case Side.INPUT:
            return dossier.state.input
        case Side.OUTPUT:
            return dossier.state.output
        case Side.REPORTS:
            return dossier.reports


async def show_path(request: web.Request) -> web.StreamResponse:
    """A directory or file as a page; with ``?raw``, ``?download`` or ``?zip`` as it is."""
    try:
        place = await _find_place(request)
        if place.entry.is_directory:
            if "zip" in request.query:
                return await _send_zip(request, place)
            return await _show_directory(request, place)
        if place.entry.mode.is_file:
            return await _show_file(request, place)
        return await _show_link(request, place)
    except UnknownObject as error:
        raise web.HTTPNotFound(
            text="What was here is not in the database any more: retention may have dropped it."
        ) from error


async def _find_place(request: web.Request) -> Place:
    side = Side(request.match_info["side"])
    dossier = await find_dossier(request)
    wanted = request.query.get("tree")
    if wanted is not None and wanted != tree_of(dossier, side):
        dossier = await _with_tree(request, dossier, side, wanted)
    root, path = tree_of(dossier, side), _path(request, side)
    if root is None:
        raise web.HTTPNotFound(text=_missing(dossier, side))
    entry = await _entry(dossier.objects, root, path)
    if entry is None:
        raise web.HTTPNotFound(text="There is no such file in this tree.")
    return Place(dossier, side, root, path, entry, wanted is not None)


async def _with_tree(request: web.Request, dossier: Dossier, side: Side, tree: str) -> Dossier:
    """The same build as it was when it had a certain tree: it may have been made again since."""
    build = dossier.state.id
    results = source_of(request).results(build.project, build.stage)
    looked = 0
    try:
        async for each in results:
            if each.state.id == build and tree_of(each, side) == tree:
                return each
            looked += 1
            if looked >= _FAR:
                break
    finally:
        await finish(results)
    raise web.HTTPNotFound(text="This build has no such tree (any more).")


def _missing(dossier: Dossier, side: Side) -> str:
    state = dossier.state
    if side is Side.REPORTS:
        return "This build left no reports."
    if side is Side.INPUT or not state.status.is_final:
        return f"This build has no {side.value} yet."
    return "This build made nothing, since it did not pass."


def _path(request: web.Request, side: Side) -> str:
    """The path that an address names, byte for byte: names need not be UTF-8."""
    match = request.match_info
    raw = unquote_to_bytes(request.rel_url.raw_path).decode(errors="surrogateescape")
    below = f"/{match['static']}/{match['key']}/{side.value}"
    return raw.partition(below)[2].strip("/")


async def _entry(objects: Objects, root: TreeId, path: str) -> Entry | None:
    """What is at a path; nothing is found below a link."""
    entry = Entry(FileMode.DIRECTORY, root)
    for name in path.split("/") if path else ():
        found = (await objects.tree(TreeId(entry.id))).get(name) if entry.is_directory else None
        if found is None:
            return None
        entry = found
    return entry


def _page(request: web.Request, template: str, place: Place, **values: object) -> web.Response:
    return request.app[PAGES].page(
        template, place=place, build=place.dossier.state, sides=_sides(place.dossier), **values
    )


def _sides(dossier: Dossier) -> Mapping[str, TreeId]:
    """The trees that a build has, by name."""
    found = ((side.value, tree_of(dossier, side)) for side in Side)
    return {name: tree for name, tree in found if tree is not None}


async def _show_directory(request: web.Request, place: Place) -> web.Response:
    tree = await place.objects.tree(TreeId(place.entry.id))
    search = request.query.get("q", "")[:200]
    found = listing(tree, number_in(request, "page"), search)
    return _page(
        request,
        "tree.html",
        place,
        listing=found,
        sizes=await _sizes(place.objects, [entry for _, entry in found.entries]),
        targets=await _targets(place.objects, [entry for _, entry in found.entries]),
        search=search,
        FileMode=FileMode,
    )


async def _sizes(objects: Objects, entries: list[Entry]) -> Mapping[str, int]:
    """The sizes of files, by id; what is not there any more is left out."""
    sizes: dict[str, int] = {}

    async def look(blob: BlobId) -> None:
        try:
            sizes[blob] = await objects.blob_size(blob)
        except UnknownObject:
            return

    async with asyncio.TaskGroup() as group:
        for blob in {entry.id for entry in entries if entry.mode.is_file}:
            group.create_task(look(BlobId(blob)))
    return sizes


async def _targets(objects: Objects, entries: list[Entry]) -> Mapping[str, str]:
    """Where links point, by id."""
    links = {entry.id for entry in entries if entry.mode is FileMode.LINK}
    return {link: await _target(objects, BlobId(link)) for link in links}


async def _target(objects: Objects, link: BlobId) -> str:
    content = await _beginning(objects, link, _LONGEST_LINK)
    return content.decode(errors="surrogateescape")


async def _beginning(objects: Objects, blob: BlobId, length: int) -> bytes:
    return b"".join([piece async for piece in objects.stream_blob(blob, 0, length)])


async def _show_link(request: web.Request, place: Place) -> web.Response:
    is_link = place.entry.mode is FileMode.LINK
    target = await _target(place.objects, BlobId(place.entry.id)) if is_link else ""
    return _page(request, "file.html", place, presented="link", target=target, size=None)


async def _show_file(request: web.Request, place: Place) -> web.StreamResponse:
    blob, objects = BlobId(place.entry.id), place.objects
    kind, size = kind_of(place.name), await objects.blob_size(blob)
    if "download" in request.query:
        body = Body(blob, size, "application/octet-stream", place.name)
        return await send_blob(request, objects, body)
    if "raw" in request.query:
        return await send_blob(request, objects, Body(blob, size, _content_type(place.name)))
    values: dict[str, object] = {"size": size, "presented": "nothing"}
    if kind is FileKind.IMAGE and "source" not in request.query:
        values["presented"] = "image" if size <= _LARGEST_IMAGE else "nothing"
    elif kind is FileKind.HTML and "source" not in request.query:
        values["presented"] = "html"
    elif kind is FileKind.MARKDOWN and size <= LONGEST and "source" not in request.query:
        text = (await _beginning(objects, blob, size)).decode(errors="replace")
        values["presented"], values["html"] = "markdown", render_markdown(text, place.base)
    else:
        window = await read_text(objects.stream_blob(blob), number_in(request, "from"))
        if window is not None:
            values["presented"], values["window"] = "text", window
    response = _page(request, "file.html", place, kind=kind.value, **values)
    if values["presented"] == "html":
        policy = HEADERS["Content-Security-Policy"]
        response.headers["Content-Security-Policy"] = f"{policy}; frame-src 'self'"
    return response


def _content_type(name: str) -> str:
    match kind_of(name):
        case FileKind.IMAGE:
            return IMAGES[name.rpartition(".")[2].lower()]
        case FileKind.HTML:
            return "text/html; charset=utf-8"
        case FileKind.TEXT | FileKind.MARKDOWN:
            return "text/plain; charset=utf-8"


async def _send_zip(request: web.Request, place: Place) -> web.StreamResponse:
    tag = f"{place.entry.id}-zip"
    headers = {
        **FRAMED,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(f"{place.name}.zip"),
        "Content-Type": "application/zip",
        "ETag": f'"{tag}"',
    }
    if is_known(request, tag):
        return web.Response(status=304, headers=headers)
    try:
        members = await zipping.plan(place.objects, TreeId(place.entry.id), place.name)
    except zipping.TooMany as error:
        text = (
            f"This directory has more than {zipping.MOST:,} files, which is too many for one zip. "
            "Take a directory within it, or use datakit-ci results checkout."
        )
        raise web.HTTPRequestEntityTooLarge(zipping.MOST, zipping.MOST + 1, text=text) from error
    pieces = zipping.zip_pieces(place.objects, members)
    return await send_pieces(request, web.StreamResponse(headers=headers), pieces)


ROUTES: Final = (
    read(BUILD + "/{side:input|output|reports}", show_path),
    read(BUILD + r"/{side:input|output|reports}/{path:[\s\S]*}", show_path),
)
"""The addresses of trees and files."""
