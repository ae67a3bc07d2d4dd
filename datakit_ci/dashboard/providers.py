"""Who else keeps accounts: GitHub, and services that speak OpenID Connect; read from a file.

The file is TOML, a table for each, and for its owner alone, since it holds secrets::

    [github]
    client_id = "Iv1.0123456789abcdef"
    client_secret = "..."

    [okta]
    issuer = "https://acme.okta.com"
    client_id = "..."
    client_secret = "..."
    title = "Okta"
    user = "preferred_username"
    groups = "groups"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from datakit_ci.confidential import read_confidential
from datakit_core.errors import ConfigError

__all__ = ["GITHUB", "Provider", "read_providers"]

GITHUB: Final = "github"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))


def _address(url: str) -> str:
    """An address that passwords may be sent to."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise ValueError(f"{url!r} is not of the form https://HOST")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_address)]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Provider(BaseModel):
    """Where somebody may have an account.

    Attributes:
        name: In names of users and in addresses, such as ``okta`` in ``okta:ann``.
        client_id, client_secret: What it knows us by.
        issuer: Where its OpenID configuration is; empty for GitHub.
        url, api: Of GitHub itself, or of an own installation.
        title: For people; by default its name.
        user: The claim that names a user there; it must be unique, and not for users to choose.
        groups: The claim with a list of groups; empty: there is none.
        scopes: What to ask for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    client_id: Text
    client_secret: Text = Field(repr=False)
    issuer: Url | None = None
    url: Url = "https://github.com"
    api: Url = "https://api.github.com"
    title: str = ""
    user: Text = "preferred_username"
    groups: str = ""
    scopes: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if not _NAME.fullmatch(self.name):
            raise ValueError("its name has small letters, digits and dashes only")
        if (self.issuer is None) != (self.name == GITHUB):
            raise ValueError('"github" has no issuer; every other one has')
        return self

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.title or ("GitHub" if self.name == GITHUB else self.name.capitalize())

    @property
    def scope(self) -> str:
        """What to ask for, as OAuth writes it."""
        usual = ("read:org",) if self.issuer is None else ("openid", "profile", "email")
        return " ".join(self.scopes or usual)


def read_providers(file: Path) -> Mapping[str, Provider]:
    """The providers that a file names.

    Raises:
        ConfigError: It is not there, open to others, or makes no sense.
    """
    data = read_confidential(file)
    if data is None:
        raise ConfigError("is not there", str(file))
    try:
        tables = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is no TOML: {error}", str(file)) from None
    return {name: _provider(file, name, table) for name, table in tables.items()}


def _provider(file: Path, name: str, table: object) -> Provider:
    if not isinstance(table, dict):
        raise ConfigError(f"{name} is not in a table: write [github] above it", str(file))
    try:
        return Provider(**{**table, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {message}", str(file)) from None
