"""Puts the dashboard together: one application, its routes in one table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from datakit_ci.accounts import AccountBook
from datakit_ci.acl import OPEN, Rules
from datakit_ci.dashboard import (
    actions,
    api,
    builds,
    clones,
    feeds,
    flash,
    formerly,
    gate,
    guard,
    lists,
    live,
    login,
    logs,
    metering,
    pages,
    pooling,
    profile,
    provided,
    recorded,
)
from datakit_ci.dashboard.assets import Assets, web_directory
from datakit_ci.dashboard.browse import ROUTES as TREES
from datakit_ci.dashboard.channel import CHANNELS, Channels
from datakit_ci.dashboard.compare import ROUTES as COMPARISONS
from datakit_ci.dashboard.controls import CONTROLS, Controls
from datakit_ci.dashboard.courses import COURSES, Courses
from datakit_ci.dashboard.flows import ROUTES as OF_FLOWS
from datakit_ci.dashboard.flows import with_flows
from datakit_ci.dashboard.found import BUILD
from datakit_ci.dashboard.keeper import KEEPER, Accounts, Keeper, NoAccounts
from datakit_ci.dashboard.logbook import LOGS, LogBook
from datakit_ci.dashboard.logins import LOGINS, Logins
from datakit_ci.dashboard.oauth import client_of
from datakit_ci.dashboard.observed import ROUTES as OBSERVATIONS
from datakit_ci.dashboard.particulars import Particulars
from datakit_ci.dashboard.providers import Provider
from datakit_ci.dashboard.rendering import PAGES, Pages
from datakit_ci.dashboard.reports import REPORTS, ReportReader
from datakit_ci.dashboard.reports import ROUTES as TESTS
from datakit_ci.dashboard.routes import add_routes, public, read
from datakit_ci.dashboard.rows import ROWS, Rows
from datakit_ci.dashboard.scope import SOURCE
from datakit_ci.dashboard.sessions import MemorySessions, SessionStore
from datakit_ci.dashboard.settings import PARTICULARS, VERSIONS
from datakit_ci.dashboard.settings import ROUTES as SETTINGS
from datakit_ci.dashboard.shelf import SHELVES, Shelves
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.travel import travel_in_time
from datakit_ci.dashboard.versions import Versions
from datakit_ci.past import Past

__all__ = ["ROUTES", "Access", "create_app"]

_LARGEST_REQUEST = 64 * 1024
"""Bytes of a request's body; there are only small forms."""


ROUTES: Final = with_flows(
    (
        *login.ROUTES,
        *profile.ROUTES,
        *provided.ROUTES,
        *api.ROUTES,
        *clones.ROUTES,
        *feeds.ROUTES,
        *metering.ROUTES,
        *formerly.ROUTES,
        *recorded.ROUTES,
        *actions.ROUTES,
        *lists.ROUTES,
        *pooling.ROUTES,
        *SETTINGS,
        read("/", pages.show_overview),
        read("/events", live.send_changes, head=False),
        read(BUILD, builds.show_build),
        *logs.ROUTES,
        *TREES,
        *COMPARISONS,
        *OBSERVATIONS,
        *TESTS,
        read("/{user}/{repo}/pr/{name:[0-9]+}", pages.show_target),
        read("/{user}/{repo}/ref/{kind:heads|tags}/{name:.+}", pages.show_target),
        *OF_FLOWS,
        read("/{user}/{repo}", pages.show_project),
    )
)
"""Every address but that of the static files, the more particular first."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _all_may_read() -> Rules:
    return OPEN


@dataclass(frozen=True, slots=True)
class Access:
    """Who may see the dashboard, and what they may do; by default all may read.

    Attributes:
        rules: Who may do what, asked anew each time.
        accounts: Who has an account or an API token of the service's own.
        book: The same, if that can be changed; then ``accounts`` does not count.
        setup: What the link carries by which the first administrator comes in; empty: none.
        providers: Who else keeps accounts, by name.
        sessions: Who has logged in; none: that is kept in memory.
        public_url: Where browsers find the service, ``https://HOST[:PORT]``, if that is not where
            they connect to (a proxy).
        is_secure: Whether they speak TLS.
        host: The name or address that is listened on. If only this machine can reach it, requests
            in other names are refused; empty: none is.
    """

    rules: Callable[[], Rules] = _all_may_read
    accounts: Accounts = field(default_factory=NoAccounts)
    book: AccountBook | None = None
    setup: str = ""
    providers: Mapping[str, Provider] = field(default_factory=dict)
    sessions: SessionStore | None = None
    public_url: str = ""
    is_secure: bool = False
    host: str = ""


def create_app(
    source: Source,
    *,
    title: str = "DataKit",
    now: Callable[[], datetime] = _utc_now,
    trouble: Callable[[], str] = str,
    access: Access | None = None,
    controls: Controls | None = None,
    past: Past | None = None,
    repository: clones.Clones | None = None,
    meters: metering.Meters | None = None,
    particulars: Particulars | None = None,
) -> web.Application:
    """The dashboard over ``source``; the caller serves it.

    Stopping the server ends open event streams at once.

    Args:
        source: Where all that pages show comes from.
        title: The name of this service, in the header and in window titles.
        now: The clock by which ages are told.
        trouble: What is wrong with the service as a whole, said on every page; empty: nothing.
        access: Who may see what; none: everybody may read everything, and do nothing else.
        controls: Who takes what people say; none: nothing can be done here.
        past: Shows moments of the past; none: only the present is known.
        repository: Where the state can be cloned from; none: nowhere.
        meters: What Prometheus may read, with a token; none: nothing.
        particulars: What administrators are told of the service; none: nothing.

    Raises:
        ConfigError: The dashboard's files are missing.
    """
    files = web_directory()
    assets = Assets.load(files / "static")
    streams = live.Streams()
    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app[SOURCE] = source
    app[REPORTS] = ReportReader()
    if controls is not None:
        app[CONTROLS] = controls
    if repository is not None:
        app[clones.CLONES] = repository
    app[VERSIONS] = Versions()
    if particulars is not None:
        app[PARTICULARS] = particulars
    app[PAGES] = Pages(files / "templates", assets, title, now, trouble)
    app[live.STREAMS] = streams
    app[SHELVES], app[COURSES], app[ROWS] = Shelves(), Courses(), Rows(app[PAGES])
    app.on_shutdown.append(streams.close)
    book = LogBook()
    app[LOGS], app[CHANNELS] = book, Channels()
    app[logs.SEARCHES] = asyncio.Semaphore(logs.AT_ONCE)
    app.cleanup_ctx.append(_closing(book))
    access = access or Access()
    keeper = _keeper(access, now)
    app[KEEPER] = keeper
    app[LOGINS] = Logins(access.book, time.monotonic, access.setup, bool(access.public_url))
    app[provided.CLIENTS] = {name: client_of(each) for name, each in access.providers.items()}
    app[provided.OWN_URL] = access.public_url
    guard.keep_safe(app, is_secure=access.is_secure, host=access.host, public_url=access.public_url)
    static = public("/static/{version}/{name:.+}", assets.serve)
    table = add_routes(app, [*ROUTES, static])
    if meters is not None:
        metering.serve_meters(app, meters)
    gate.put_before(app, table, keeper, access.public_url)
    app.middlewares.append(flash.carry_sentence)
    app[PAGES].acts = controls is not None
    travel_in_time(app, table, past)  # only for who may see the page now
    return app


def _closing(book: LogBook) -> Callable[[web.Application], AsyncIterator[None]]:
    async def until_cleanup(_app: web.Application) -> AsyncIterator[None]:
        yield
        book.close()

    return until_cleanup


def _keeper(access: Access, now: Callable[[], datetime]) -> Keeper:
    sessions = access.sessions or MemorySessions(lambda: now().timestamp())
    accounts = access.accounts if access.book is None else access.book
    return Keeper(access.rules, sessions, accounts, now, access.is_secure)
