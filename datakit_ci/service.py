"""The service in one process: database, 9P, local bridge, engine and dashboard.

This is the composition root of ``datakit-ci serve``, and so of ``make run``. The parts are entered
in the order in which they depend on one another: whatever fails to start ends what has started,
and a signal ends all of it in reverse.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from watchfiles import awatch

from datakit_ci.bridges.local_git import LocalGitBridge, LocalRepository
from datakit_ci.bridges.telling import Telling
from datakit_ci.checkout import Checkout
from datakit_ci.dashboard.clones import Clones
from datakit_ci.dashboard.metering import Meters
from datakit_ci.dashboard.particulars import Particulars, plain_options, tame
from datakit_ci.dashboard.site import bind, serve_pages
from datakit_ci.engine import Engine
from datakit_ci.home import Home, open_home
from datakit_ci.past import Past
from datakit_ci.project import Config, load_pipeline
from datakit_ci.pruning import Pruner
from datakit_ci.reception import Reception, open_reception
from datakit_ci.settings import ServiceSettings
from datakit_ci.tally import Tally
from datakit_ci.target import Target
from datakit_core.errors import ConfigError
from datakit_core.resources import collecting_when_idle
from datakit_core.smart_http import Views

if TYPE_CHECKING:  # only who wants metrics imports them
    from datakit_ci.monitoring import Figures

__all__ = ["Service", "open_service", "serve"]

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Service:
    """What a running service serves, and where.

    Attributes:
        engine: The engine, for whoever embeds the service.
        dashboard: ``http://HOST:PORT/``.
        listeners: URLs of the database over 9P, with the ports that the system has chosen.
        repositories: What the local bridge watches.
        settings: What it was started with.
        reception: How the dashboard is reached.
    """

    engine: Engine
    dashboard: str
    listeners: tuple[str, ...]
    repositories: tuple[LocalRepository, ...]
    settings: ServiceSettings
    reception: Reception

    @property
    def setup(self) -> str:
        """Where the first administrator chooses a password; empty if there is one."""
        access = self.reception.access
        here = f"{access.public_url}/" if access.public_url else self.dashboard
        return f"{here}setup?token={access.setup}" if access.setup else ""


async def serve(settings: ServiceSettings, announce: Callable[[Service], None]) -> None:
    """Run the service until SIGINT or SIGTERM.

    Args:
        settings: What to serve, and where.
        announce: Called once everything listens.

    Raises:
        ConfigError: As :func:`open_service`.
        RepositoryError: As :func:`open_service`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with open_service(settings) as service:
            announce(service)
            await stop.wait()
            _log.info("stopping")
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def open_service(settings: ServiceSettings) -> AsyncIterator[Service]:
    """Start everything; leaving ends everything, running builds included.

    Raises:
        ConfigError: The pipeline or an option is wrong, or an address is in use.
        Disconnected: Nobody serves the database at the address that was given.
        RepositoryError: The database cannot be opened, or another process serves it.
    """
    config = load_pipeline(settings.pipeline)
    repositories = await _repositories(settings, config)
    tally = Tally()
    figures = _figures(settings, tally)
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(open_home(settings, figures))
        database = home.database
        stack.enter_context(collecting_when_idle())
        scheme = urlsplit(settings.web_ui).scheme
        site = stack.enter_context(bind(settings.web_host, settings.web_port, scheme))
        engine = Engine(
            database,
            config,
            home.executor,
            settings.work / "logs",
            settings.public_url or site.url,
            canaries=_canaries(settings, config),
            trouble=home.trouble,
            tally=tally,
        )
        await stack.enter_async_context(engine)
        if home.farm is not None:
            home.farm.cluster.listen(engine.employ)
        telling = Telling(
            engine, database, settings.public_url or site.url, [*config.webhooks, *config.notify]
        )
        reloader = _Reloader(engine, settings.pipeline, telling)
        reception = await stack.enter_async_context(
            open_reception(settings, lambda: engine.config.rules)
        )
        await stack.enter_async_context(
            serve_pages(
                engine,
                site,
                lambda: home.trouble() or reloader.trouble,
                controls=engine,
                past=Past(database),
                repository=_clones(home),
                meters=_meters(settings, figures),
                particulars=Particulars(
                    plain_options(settings.model_dump()),
                    lambda: engine.config,
                    engine.missing_secrets,
                    tuple(reception.access.providers),
                    _whereabouts(settings, home),
                    lambda: home.trouble() or reloader.trouble,
                    settings.executor,
                ),
                access=reception.access,
                tls=reception.tls,
            )
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [
            tasks.create_task(LocalGitBridge(database, repositories).run()),
            tasks.create_task(engine.run()),
            tasks.create_task(reloader.run()),
            tasks.create_task(telling.run()),
            tasks.create_task(reception.book.follow()),
            tasks.create_task(_prune(engine, home, tally)),
            *(tasks.create_task(each.follow(engine, home.away)) for each in figures),
        ]
        try:
            yield Service(engine, site.url, home.listeners, repositories, settings, reception)
        finally:
            for task in running:
                task.cancel()


def _clones(home: Home) -> Clones | None:
    """Where the state can be cloned from, if its repository is ours."""
    return None if home.store is None else Clones(home.store.heads, Views(home.store.path))


def _whereabouts(settings: ServiceSettings, home: Home) -> str:
    """Where the database is, and where others find it."""
    if settings.metadata_store:
        return f"of the server at {tame(settings.metadata_store)}"
    served = ", ".join(home.listeners)
    return f"{settings.database}" + (f", served at {served}" if served else ", not served")


def _figures(settings: ServiceSettings, tally: Tally) -> Sequence[Figures]:
    """What to tell Prometheus; nothing if it is not to be told anything."""
    if not settings.listen_prometheus and not settings.metrics_token_hash:
        return ()
    from datakit_ci.monitoring import Figures  # only for who wants it

    return (Figures(tally),)


def _meters(settings: ServiceSettings, figures: Sequence[Figures]) -> Meters | None:
    """What the dashboard tells Prometheus, if anything."""
    if not settings.metrics_token_hash:
        return None
    from prometheus_client import generate_latest  # only for who wants it

    from datakit_core.metrics.families import registry_of

    registry = registry_of(*figures)
    return Meters(settings.metrics_token_hash, lambda: generate_latest(registry))


async def _repositories(settings: ServiceSettings, config: Config) -> tuple[LocalRepository, ...]:
    """What the local bridge shall watch: what was named, else the checkout of the pipeline."""
    named = tuple(LocalRepository.parse(text) for text in settings.repositories)
    for repository in named:
        if config.project(repository.project) is None:
            known = ", ".join(project.id for project in config.projects)
            raise ConfigError(
                f"the pipeline has no project {repository.project}, only {known}", "--repository"
            )
    if named or not config.projects or settings.metadata_store:
        return named  # who serves the database has bridges of its own
    if len(config.projects) > 1:
        raise ConfigError(
            "the pipeline has several projects; name the checkout of each: "
            "--repository USER/REPO:PATH"
        )
    checkout = Checkout.around(settings.pipeline.parent)
    return (LocalRepository(config.projects[0].id, checkout.root),)


def _canaries(settings: ServiceSettings, config: Config) -> Sequence[Target]:
    """The only targets to test; one of a project that there is not is a mistake."""
    canaries = [Target.named(text) for text in settings.canary]
    for target in canaries:
        if config.project(target.project) is None:
            raise ConfigError(f"the pipeline has no project {target.project}", "--canary")
    return canaries


async def _prune(engine: Engine, home: Home, tally: Tally) -> None:
    """Keep results for as long as the pipeline says; first when it is known what targets show."""
    await engine.idle()
    pruner = Pruner(home.database, engine.shown_builds, forgetful=home.local, tally=tally)
    await pruner.run(lambda: engine.config)


class _Reloader:
    """Follows changes of the pipeline's file, and of modules beside it.

    Attributes:
        trouble: Why the last change does not count, for people; empty: it does.
    """

    def __init__(self, engine: Engine, pipeline: Path, telling: Telling) -> None:
        self.trouble = ""
        self._engine = engine
        self._pipeline = pipeline
        self._telling = telling

    async def run(self) -> None:
        """Read it again after each change; a broken one is reported, and the last one stays."""
        folder = self._pipeline.parent
        async for _ in awatch(folder, watch_filter=_is_python, debounce=100, recursive=False):
            try:
                config = load_pipeline(self._pipeline)
                await self._engine.configure(config)
                self._telling.configure([*config.webhooks, *config.notify])
            except ConfigError as error:
                self.trouble = f"The pipeline stays as it was: {error}"
                _log.error("the pipeline stays as it was: %s", error)
            else:
                self.trouble = ""
                _log.info("%s was read again", self._pipeline)


def _is_python(_change: object, path: str) -> bool:
    return path.endswith(".py")
