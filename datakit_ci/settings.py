"""The options of the service, checked before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from datakit_core.errors import ConfigError
from datakit_core.ninep import PATIENCE

__all__ = ["ServiceSettings", "checked_executor"]

_OF_THE_SERVER = (
    "listen_9p",
    "allow_fetch",
    "auto_push",
    "listen_http",
    "durability",
)


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from error
    is_web = parts.scheme in ("http", "https")
    if not is_web or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is not of the form http://HOST:PORT or https://HOST:PORT")
    return url


def _public_address(url: str) -> str:
    parts = urlsplit(url)
    is_web = parts.scheme in ("http", "https") and parts.hostname
    if url and not (is_web and parts.path in ("", "/") and not parts.query):
        raise ValueError(f"{url!r} is not of the form https://HOST[:PORT]")
    return url


def _sessions_backend(url: str) -> str:
    if url != "memory" and urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("write memory, or redis://HOST:PORT/NUMBER")
    return url


def checked_executor(text: str) -> str:
    """Where builds run, as ``--executor`` says it.

    Raises:
        ValueError: It makes no sense.
    """
    if text != "local" and not text.startswith(("dask:tcp://", "dask:tls://")):
        raise ValueError("write local, dask:tls://HOST:PORT or dask:tcp://HOST:PORT")
    return text


def _digest(text: str) -> str:
    if text and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ValueError(
            "that is no SHA-256 in hex; make one of your token: printf %s TOKEN | sha256sum"
        )
    return text


class ServiceSettings(BaseModel):
    """What ``datakit-ci serve`` was asked to do.

    Attributes:
        pipeline: The pipeline's Python file.
        database: The bare repository that holds all state; made when missing.
        metadata_store: The address of a server that has the database; empty: ``database`` is it.
        listen_9p: Where to serve the database, as listener URLs; none serves it nowhere.
        allow_fetch: What database clients from the network may have fetched, as
            :meth:`datakit_core.store.FetchPolicy.parse` reads it.
        listen_prometheus: Where to serve metrics, ``PORT`` or ``HOST:PORT``; nowhere if empty.
        metrics_token_hash: SHA-256, in hex, of the token by which ``/metrics`` of the dashboard can
            be read; empty: it is not served.
        auto_push: Where to mirror every branch of the database, if anywhere.
        listen_http: Where to serve the database's repository to Git itself.
        durability: What an acknowledged commit survives, as
            :meth:`datakit_core.store.Durability.parse` reads it.
        web_ui: Where to serve the dashboard, ``http://HOST:PORT``; port 0 takes a free one.
        repositories: ``USER/REPO:PATH`` of each local repository to watch.
        canary: The only targets to test, ``USER/REPO/heads/NAME`` or ``pr/N``; none: all.
        public_url: Where browsers find the dashboard, behind a proxy; empty: at ``web_ui``.
        tls_cert, tls_key: What it shows by TLS; none: a certificate that it makes itself.
        login_providers: A file with others who keep accounts, as
            :func:`datakit_ci.dashboard.providers.read_providers` reads it.
        sessions_backend: ``memory``, or where a Redis is.
        executor: Where builds run: ``local``, or ``dask:`` and the address of a scheduler.
        executor_tls: The files for a scheduler at ``tls://``, as
            :meth:`datakit_ci.executors.dask.security.Credentials.parse` reads them.
        patience: Seconds of silence after which a database or a scheduler elsewhere is away.
        accounts: Directory for accounts and tokens; made when missing, for our user alone.
        work: Directory for checkouts of builds and logs being written; nothing in it is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: Path
    database: Path
    metadata_store: str = ""
    listen_9p: tuple[str, ...] = ("tcp://127.0.0.1:5640",)
    allow_fetch: str = "https"
    listen_prometheus: str = ""
    metrics_token_hash: Annotated[str, AfterValidator(_digest)] = ""
    auto_push: str | None = None
    listen_http: tuple[str, ...] = ()
    durability: str = "full"
    web_ui: Annotated[str, AfterValidator(_web_address)] = "http://127.0.0.1:8080"
    repositories: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()
    public_url: Annotated[str, AfterValidator(_public_address)] = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    login_providers: Path | None = None
    sessions_backend: Annotated[str, AfterValidator(_sessions_backend)] = "memory"
    executor: Annotated[str, AfterValidator(checked_executor)] = "local"
    executor_tls: str = ""
    patience: Annotated[float, Field(ge=1.0, le=86_400.0)] = PATIENCE
    accounts: Path
    work: Path

    @classmethod
    def checked(cls, **values: object) -> Self:
        """Build settings from a command line.

        Raises:
            ConfigError: Names the first option that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
            raise ConfigError(first["msg"].removeprefix("Value error, "), option) from error

    @model_validator(mode="after")
    def _only_one_database(self) -> Self:
        """Refuse what only who serves the database can do."""
        fields = type(self).model_fields
        for name in _OF_THE_SERVER if self.metadata_store else ():
            if getattr(self, name) != fields[name].default:
                option = name.replace("_", "-")
                raise ValueError(
                    f"--{option} is for who serves the database; give it to: datakit serve"
                )
        return self

    @model_validator(mode="after")
    def _whole_certificates(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together")
        if self.tls_cert is not None and not self.web_ui.startswith("https:"):
            raise ValueError("--tls-cert is for --web-ui https://HOST:PORT")
        return self

    @model_validator(mode="after")
    def _certificates_of_a_cluster(self) -> Self:
        if self.executor_tls and not self.executor.startswith("dask:tls:"):
            raise ValueError("--executor-tls is for --executor dask:tls://HOST:PORT")
        return self

    @property
    def web_host(self) -> str:
        """The dashboard's host name or address."""
        return urlsplit(self.web_ui).hostname or "127.0.0.1"

    @property
    def web_port(self) -> int:
        """The dashboard's port; 0 means any free one."""
        return urlsplit(self.web_ui).port or 0
