"""``datakit-ci serve``: everything in one process, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from datakit_ci.cli import options
from datakit_core import __version__
from datakit_core.errors import ConfigError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.service import Service

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def serve(
    pipeline: options.PipelineFile,
    *,
    git: options.DatabaseGit = None,
    metadata_store: options.MetadataStore = "",
    listen_9p: options.Listen9p = "tcp://127.0.0.1:5640",
    allow_fetch: options.AllowFetch = "https",
    listen_prometheus: options.ListenPrometheus = "",
    metrics_token_hash: options.MetricsTokenHash = "",
    auto_push: options.AutoPush = None,
    listen_http: options.ListenHttp = "",
    durability: options.Durability = "full",
    web_ui: options.WebUi = "http://127.0.0.1:8080",
    public_url: options.PublicUrl = "",
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    accounts: options.AccountsDirectory = None,
    login_providers: options.LoginProviders = None,
    sessions_backend: options.SessionsBackend = "memory",
    repository: options.Repositories = None,
    canary: options.Canaries = None,
    executor: options.Executor = "local",
    executor_tls: options.ExecutorTls = "",
    patience: options.Patience = 60.0,
    verbose: options.Verbose = False,
) -> None:
    """Serve everything in one process: database, local bridge, engine and dashboard.

    Runs until Ctrl-C or SIGTERM. All state is in the database: started again, it goes on.
    """
    import asyncio

    from datakit_ci.service import serve
    from datakit_ci.settings import ServiceSettings
    from datakit_core import logs

    logs.configure(verbose=verbose)
    if git is not None and metadata_store:
        raise ConfigError("--git and --metadata-store: the database can be at one place only")
    if git is None:
        git = _state(metadata_store) / "database.git"
    database = git.absolute()
    settings = ServiceSettings.checked(
        pipeline=pipeline.absolute(),
        database=database,
        metadata_store=metadata_store,
        listen_9p=options.split(listen_9p),
        allow_fetch=allow_fetch,
        listen_prometheus=listen_prometheus,
        metrics_token_hash=metrics_token_hash,
        auto_push=auto_push,
        listen_http=options.split(listen_http),
        durability=durability,
        web_ui=web_ui,
        repositories=tuple(repository or ()),
        canary=tuple(canary or ()),
        public_url=public_url,
        tls_cert=tls_cert,
        tls_key=tls_key,
        login_providers=login_providers,
        sessions_backend=sessions_backend,
        accounts=(accounts or _beside(database, metadata_store, "accounts")).absolute(),
        work=_beside(database, metadata_store, "work"),
        executor=executor,
        executor_tls=executor_tls,
        patience=patience,
    )
    asyncio.run(serve(settings, _announce))


def _state(metadata_store: str) -> Path:
    """Where our own files are: in the checkout; without a database among them, anywhere will do."""
    from datakit_ci.checkout import Checkout

    try:
        return Checkout.around(Path.cwd()).make_state()
    except ConfigError:
        if not metadata_store:
            raise
        return Path.cwd() / ".datakit"


def _beside(database: Path, metadata_store: str, what: str) -> Path:
    """A place of our own: beside the database; of an engine without one, where one would be."""
    name = "engine" if metadata_store else database.name.removesuffix(".git")
    return database.with_name(f"{name}.{what}")


def _announce(service: Service) -> None:
    """Say what is served, and where: a word and an address a line."""
    settings = service.settings
    lines = [("dashboard", service.dashboard)]
    lines += [("database", url) for url in service.listeners]
    if not settings.metadata_store:
        lines.append(("repository", str(settings.database)))
    lines.append(("pipeline", str(settings.pipeline)))
    lines += [("watching", f"{each.project} at {each.path}") for each in service.repositories]
    typer.echo(f"DataKit {__version__}")
    for word, where in lines:
        typer.echo(f"  {word:<11} {where}")
    if (certificate := service.reception.certificate) and certificate.fingerprint:
        typer.echo("The dashboard's certificate is its own; SHA-256")
        typer.echo(f"  {certificate.fingerprint}")
        digest = certificate.fingerprint.replace(":", "")
        typer.echo(f"  {'--server':<11} {service.dashboard.rstrip('/')}?sha256={digest}")
    if service.setup:
        typer.echo("Nobody can log in yet. The first administrator, once, opens")
        typer.echo(f"  {'set-up':<11} {service.setup}")
    typer.echo("Ctrl-C stops.")
