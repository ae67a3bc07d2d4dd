"""Options and arguments of the commands, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AccountsDirectory",
    "AllowFetch",
    "AutoPush",
    "Canaries",
    "ClusterCaFile",
    "ClusterCert",
    "ClusterKey",
    "DatabaseGit",
    "Durability",
    "Executor",
    "ExecutorTls",
    "Listen9p",
    "ListenHttp",
    "ListenPrometheus",
    "LoginProviders",
    "MetadataStore",
    "MetricsTokenHash",
    "Patience",
    "PipelineFile",
    "PublicUrl",
    "Repositories",
    "SessionsBackend",
    "ShowOutput",
    "TlsCert",
    "TlsKey",
    "Verbose",
    "WebUi",
    "own_database",
    "split",
]

PipelineFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="PIPELINE", help="The Python file with the pipeline.")
]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]
ShowOutput: TypeAlias = Annotated[
    bool, typer.Option("--verbose", help="Show what stages print while they run.")
]

ClusterCaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca-file",
        metavar="FILE",
        help="For tls://: certificates of who signs those of the cluster, PEM. "
        "Default: as Dask is configured.",
        show_default=False,
    ),
]
ClusterCert: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        metavar="FILE",
        help="For tls://: the certificate to show on the cluster, PEM.",
        show_default=False,
    ),
]
ClusterKey: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tls-key", metavar="FILE", help="For tls://: its key.", show_default=False),
]
DatabaseGit: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--git",
        metavar="PATH",
        help="The database's bare repository; made if missing. "
        "Default: .datakit/database.git in the checkout of the current directory.",
        show_default=False,
    ),
]
MetadataStore: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="A server's database instead of one of our own: tcp://HOST:PORT, unix:///PATH or "
        "tls://HOST:PORT?cert=FILE&key=FILE&ca=FILE.",
        show_default=False,
    ),
]
Listen9p: TypeAlias = Annotated[
    str, typer.Option("--listen-9p", metavar="URL[,URL]", help="Where to serve the database.")
]
AllowFetch: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="What database clients from the network may have fetched: schemes, "
        "file:/PATTERN of local repositories, or none.",
    ),
]
ListenPrometheus: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="PORT|HOST:PORT",
        help="Where to serve metrics for Prometheus, at /metrics; without a host, on loopback.",
        show_default=False,
    ),
]
MetricsTokenHash: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="SHA256",
        help="Serve metrics at /metrics of the dashboard too, to who has the token of this digest: "
        "printf %s TOKEN | sha256sum.",
        show_default=False,
    ),
]
AutoPush: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="DATAKIT_AUTO_PUSH",
        help="Mirror every branch of the database to this repository, which must exist. "
        "A URL with a password belongs in the variable: others can read command lines.",
        show_default=False,
    ),
]
Executor: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="Where builds run: local, or on a Dask cluster, dask:tls://HOST:PORT or "
        "dask:tcp://HOST:PORT; its workers are started by: datakit-ci worker.",
    ),
]
ExecutorTls: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="FILES",
        help="For dask:tls://: ca-file=FILE,cert=FILE,key=FILE. Default: as Dask is configured.",
        show_default=False,
    ),
]
Patience: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1.0,
        max=86_400.0,  # a day; the kernel counts not much further
        help="After so long without a sign of its machine a database elsewhere, or the cluster's "
        "scheduler, counts as away.",
    ),
]
ListenHttp: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="URL[,URL]",
        help="Where to serve the database's repository to Git itself: "
        "http://HOST:PORT[/PATH][?token=FILE&any-id].",
        show_default=False,
    ),
]
Durability: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="full|relaxed",
        help="What an acknowledged commit survives: full, a power cut too; relaxed, only the "
        "death of the service.",
    ),
]
WebUi: TypeAlias = Annotated[
    str, typer.Option("--web-ui", metavar="URL", help="Where to serve the dashboard.")
]
PublicUrl: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Where browsers find the dashboard, if a proxy is before it: https://HOST[:PORT].",
        show_default=False,
    ),
]
TlsCert: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The dashboard's certificate, with --web-ui https://HOST:PORT. Default: one that it "
        "makes itself.",
        show_default=False,
    ),
]
TlsKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The private key of --tls-cert.", show_default=False),
]
LoginProviders: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Who else keeps accounts (GitHub, OpenID Connect): a TOML file, yours alone.",
        show_default=False,
    ),
]
SessionsBackend: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="memory|redis://HOST:PORT",
        help="Where it is kept who has logged in.",
    ),
]
AccountsDirectory: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--accounts",
        metavar="DIRECTORY",
        help="Where accounts and API tokens are kept. Default: beside the database, "
        "as .datakit/database.accounts.",
        show_default=False,
    ),
]
Repositories: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="USER/REPO:PATH",
        help="A local repository to watch; may be repeated. "
        "Default: the checkout that the pipeline is in, as its only project.",
        show_default=False,
    ),
]
Canaries: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--canary",
        metavar="TARGET",
        help="Test only this target, USER/REPO/heads/NAME, USER/REPO/tags/NAME or USER/REPO/pr/N; "
        "may be repeated.",
        show_default=False,
    ),
]


def split(urls: str) -> tuple[str, ...]:
    """The URLs of an option that takes several, with commas between them."""
    return tuple(url for url in urls.split(",") if url)


def own_database() -> Path | None:
    """The database in the checkout around the current directory, if there is one."""
    from datakit_ci.checkout import Checkout
    from datakit_core.errors import ConfigError

    try:
        database = Checkout.around(Path.cwd()).root / ".datakit" / "database.git"
    except ConfigError:
        return None
    return database if database.is_dir() else None
