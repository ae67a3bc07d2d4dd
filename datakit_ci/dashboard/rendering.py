"""From a template and values to a response: escaping, filters and what every page gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import jinja2
from aiohttp import web
from markupsafe import Markup

from datakit_ci.acl import Role
from datakit_ci.dashboard import flash, naming, offers, wording
from datakit_ci.dashboard.asof import AS_OF, keep_moment
from datakit_ci.dashboard.assets import Assets
from datakit_ci.dashboard.visitor import CSRF_FIELD, CURRENT, HERE
from datakit_ci.instant import print_instant
from datakit_ci.state import Status, stage_path
from datakit_core import __version__

__all__ = ["PAGES", "Pages", "path_of"]

_WORDS: Final[Mapping[Status, str]] = {
    Status.WAITING: "waiting",
    Status.RUNNING: "running",
    Status.SUCCESS: "passed",
    Status.FAILURE: "failed",
    Status.BLOCKED: "blocked",
    Status.CANCELLED: "cancelled",
    Status.ERROR: "error",
}


def path_of(*parts: str) -> str:
    """An address on this server, made of raw parts: each is quoted, slashes in them are kept."""
    return "/" + "/".join(quote(part.encode(errors="surrogateescape"), safe="/") for part in parts)


def _may(role: Role, project: str = "") -> bool:
    """Whether who looks at a page may do something there; in the past nothing can be done."""
    is_past = role > Role.READ and AS_OF.get() is not None
    return not is_past and CURRENT.get().may(role, project)


def _finalize(value: object) -> object:
    """What ``{{ value }}`` shows: text from outside has nothing in it that misleads the eye."""
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    return wording.visible(value) if isinstance(value, str) else value


class Pages:
    """Renders the templates.

    Autoescaping is on for all of them, an unknown name is an error and not an empty string, and
    :func:`_finalize` sees every value. A page of the past stays there (:mod:`.asof`).

    Attributes:
        acts: Whether anything can be done here, so that pages have forms for it.
        clock: What the time is.
    """

    def __init__(
        self,
        templates: Path,
        assets: Assets,
        title: str,
        now: Callable[[], datetime],
        trouble: Callable[[], str],
    ) -> None:
        """Read templates from a folder; ``now`` is a clock.

        ``trouble`` says what is wrong with the service as a whole.
        """
        self.clock = now
        self.trouble = trouble
        self.acts = False
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(templates),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            count=wording.count,
            duration=wording.duration,
            label=wording.cell_label,
            iso=lambda then: then.astimezone(UTC).isoformat(timespec="milliseconds"),
            instant=print_instant,
            moment=wording.moment,
            short=wording.short_id,
            size=wording.size,
            word=_WORDS.__getitem__,
        )
        self._environment.globals.update(
            site=title,
            version=__version__,
            static=assets.url,
            path_of=path_of,
            stage_path=stage_path,
            Status=Status,
            trouble=trouble,
            Role=Role,
            CSRF_FIELD=CSRF_FIELD,
            visitor=CURRENT.get,
            page_address=HERE.get,
            may=_may,
            acts=lambda: self.acts and AS_OF.get() is None,
            offers_of_build=offers.offers_of_build,
            offers_of_target=offers.offers_of_target,
            said=flash.said,
            label_of=naming.label_of,
        )
        self._environment.globals.update(as_of=AS_OF.get, clock=now, since=wording.ago)

    def now(self) -> datetime:
        """The moment that pages are about, by which ages are told: now, or one of the past."""
        past = AS_OF.get()
        return self.clock() if past is None else past.moment

    def text(self, template: str, **values: object) -> str:
        """Render a template, or a part of a page."""
        now = self.now()
        return self._environment.get_template(template).render(
            **values, now=now, ago=lambda then: wording.ago(then, now)
        )

    def page(self, template: str, status: int = 200, /, **values: object) -> web.Response:
        """Render a page; it is checked with us each time, since what it shows changes."""
        html, past = self.text(template, **values), AS_OF.get()
        body = (html if past is None else keep_moment(html, past.at)).encode(errors="replace")
        return web.Response(
            body=body,
            status=status,
            headers={
                "Content-Type": "text/html; charset=utf-8",
                "Cache-Control": "private, no-cache",
            },
        )


PAGES: Final = web.AppKey("pages", Pages)
