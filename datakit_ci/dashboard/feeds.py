"""State for other programs' windows: badges, CCTray, Atom, and whether we are well.

All of it is made of the same states as the pages, and so shows what whoever asks may read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_to_bytes
from xml.etree.ElementTree import Element, SubElement, tostring

from aiohttp import web

from datakit_ci.dashboard.addressed import project_in
from datakit_ci.dashboard.badge import badge
from datakit_ci.dashboard.provided import OWN_URL
from datakit_ci.dashboard.rendering import PAGES, path_of
from datakit_ci.dashboard.routes import Route, public, read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.views import red_first
from datakit_ci.dashboard.wording import visible
from datakit_ci.state import Status, TargetState
from datakit_ci.target import Target
from datakit_core.errors import ConfigError

__all__ = ["ROUTES"]

_MOST_ENTRIES = 50
"""Targets in an Atom feed, the most recently changed first."""

_ATOM = "http://www.w3.org/2005/Atom"

_LAST_STATUS = {
    Status.SUCCESS: "Success",
    Status.FAILURE: "Failure",
    Status.BLOCKED: "Failure",
    Status.ERROR: "Exception",
}
"""What CCTray calls it; anything else is ``Unknown``."""

_WORDS = {
    Status.SUCCESS: "passed",
    Status.FAILURE: "failed",
    Status.ERROR: "is in error",
    Status.CANCELLED: "was cancelled",
    Status.BLOCKED: "is blocked",
    Status.RUNNING: "is running",
    Status.WAITING: "waits",
}


async def show_health(request: web.Request) -> web.Response:
    """One word, and a status that a load balancer understands."""
    trouble = bool(request.app[PAGES].trouble())
    return web.Response(
        status=503 if trouble else 200,
        text="trouble\n" if trouble else "ok\n",
        headers={"Cache-Control": "no-store"},
    )


def _above(request: web.Request) -> str:
    """What an address is about: all of it but the last part."""
    raw = request.rel_url.raw_path.rpartition("/")[0]
    return unquote_to_bytes(raw).decode(errors="surrogateescape").removeprefix("/")


def _target(request: web.Request) -> TargetState:
    """The target that an address begins with; raises ``HTTPNotFound``."""
    try:
        state = source_of(request).target(Target.named(_above(request)))
    except ConfigError as error:
        raise web.HTTPNotFound from error
    if state is None:
        raise web.HTTPNotFound(text="No such branch, tag or pull request is tested here.")
    return state


async def send_badge(request: web.Request) -> web.Response:
    """How a target stands, or one of its jobs (``?job=NAME``), as a small picture."""
    state, name = _target(request), request.query.get("job", "")
    label, status = "build", state.status
    if name:
        found = next((job for job in state.jobs if job.name == name), None)
        if found is None:
            raise web.HTTPNotFound(text="There is no such job.")
        label, status = found.name, found.status
    return _kept(request, badge(visible(label), status).encode(), "image/svg+xml; charset=utf-8")


async def send_cctray(request: web.Request) -> web.Response:
    """Every target, as CruiseControl's clients read it."""
    root, base = Element("Projects"), _base(request)
    for state in sorted(source_of(request).targets(), key=lambda state: state.target):
        target = state.target
        facts = {
            "name": f"{target.project} {target.short}",
            "activity": "Sleeping" if state.status.is_final else "Building",
            "lastBuildStatus": _LAST_STATUS.get(_settled(state), "Unknown"),
            "lastBuildLabel": state.head or "",
            "lastBuildTime": _time(state.updated),
            "webUrl": base + path_of(target.path),
        }
        SubElement(root, "Project", {name: _clean(value) for name, value in facts.items()})
    return _kept(request, _document(root), "application/xml; charset=utf-8")


def _settled(state: TargetState) -> Status:
    """How what is done of a target stands, while the rest of it goes on."""
    if state.status.is_final:
        return state.status
    done = [job.status for job in state.jobs if job.status.is_final]
    return Status.FAILURE if Status.FAILURE in done else Status.WAITING


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a feed."""

    id: str
    title: str
    link: str
    text: str
    updated: datetime | None
    author: str


async def send_overview_feed(request: web.Request) -> web.Response:
    """What has changed lately, in all projects that one may read."""
    return _feed(request, "All projects", "/", _newest(source_of(request).targets()))


async def send_project_feed(request: web.Request) -> web.Response:
    """What has changed lately in a project."""
    project = project_in(request)
    states = [each for each in source_of(request).targets() if each.target.project == project]
    if not states:
        raise web.HTTPNotFound(text=f"There is no project {project} here.")
    return _feed(request, project, path_of(project), _newest(states))


async def send_target_feed(request: web.Request) -> web.Response:
    """A target and its jobs."""
    state = _target(request)
    page = path_of(state.target.path)
    jobs = [
        _Entry(
            f"{page}@{state.head}/{job.name}={job.status.value}",
            f"{job.name} {_WORDS[job.status]}",
            path_of("build", job.builds[-1].path) if job.builds else page,
            job.description,
            state.updated,
            state.author,
        )
        for job in red_first(state.jobs)
    ]
    name = f"{state.target.project} {state.target.short}"
    return _feed(request, name, page, [_entry(state), *jobs])


def _newest(states: Sequence[TargetState]) -> list[_Entry]:
    never = datetime.fromtimestamp(0, UTC)
    newest = sorted(states, key=lambda state: state.updated or never, reverse=True)
    return [_entry(state) for state in newest[:_MOST_ENTRIES]]


def _entry(state: TargetState) -> _Entry:
    target, page = state.target, path_of(state.target.path)
    return _Entry(
        f"{page}@{state.head}={state.status.value}",
        f"{target.project} {target.short} {_WORDS[state.status]}",
        page,
        state.problem or state.headline,
        state.updated,
        state.author,
    )


def _feed(request: web.Request, title: str, page: str, entries: Sequence[_Entry]) -> web.Response:
    """An Atom feed (RFC 4287); an entry is what stands, so a new state is a new entry."""
    base = _base(request)
    root = Element("feed", {"xmlns": _ATOM})
    _put(root, "id", base + page)
    _put(root, "title", title)
    _put(root, "updated", max((_time(each.updated) for each in entries), default=_time(None)))
    SubElement(root, "link", {"rel": "alternate", "href": base + page})
    SubElement(root, "link", {"rel": "self", "href": base + request.rel_url.raw_path})
    for each in entries:
        item = SubElement(root, "entry")
        _put(
            item, "id", f"urn:sha256:{hashlib.sha256(each.id.encode(errors='replace')).hexdigest()}"
        )
        _put(item, "title", each.title)
        _put(item, "updated", _time(each.updated))
        SubElement(item, "link", {"rel": "alternate", "href": base + each.link})
        _put(SubElement(item, "author"), "name", each.author or "unknown")
        _put(item, "summary", each.text)
    return _kept(request, _document(root), "application/atom+xml; charset=utf-8")


def _put(parent: Element, name: str, value: str) -> None:
    SubElement(parent, name).text = _clean(value)


def _clean(value: str) -> str:
    """Text that XML may hold, and that misleads nobody's eye."""
    return visible(value.encode(errors="surrogateescape").decode(errors="replace"))


def _document(root: Element) -> bytes:
    made: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _time(moment: datetime | None) -> str:
    known = moment or datetime.fromtimestamp(0, UTC)
    return known.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _base(request: web.Request) -> str:
    """Where we are found: as we were told; else as who asks says, which is told to nobody else."""
    return request.app[OWN_URL] or f"{request.scheme}://{request.host}"


def _kept(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """An answer that is not sent again while it is the same."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    headers = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
    if any(tag.value == etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})


_PULL = "/{user}/{repo}/pr/{name:[0-9]+}"
_REF = "/{user}/{repo}/ref/{kind:heads|tags}/{name:.+}"

ROUTES: Final[tuple[Route, ...]] = (
    public("/health", show_health),
    read("/cc.xml", send_cctray),
    read("/feed.atom", send_overview_feed),
    read("/{user}/{repo}/feed.atom", send_project_feed),
    *(
        read(f"{target}/{name}", handler)
        for target in (_PULL, _REF)
        for name, handler in (("badge.svg", send_badge), ("feed.atom", send_target_feed))
    ),
)
"""They go before the pages of targets, whose names may be anything."""
