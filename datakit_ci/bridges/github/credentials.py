"""The token that requests carry: from a file, or made for a GitHub App and renewed in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import aiohttp
from gidgethub import GitHubException
from gidgethub.aiohttp import GitHubAPI
from gidgethub.apps import get_installation_access_token
from jwt.exceptions import PyJWTError

from datakit_ci.bridges.github.client import Token
from datakit_ci.bridges.github.hub import Unavailable
from datakit_ci.secrets import Secret
from datakit_core.errors import ConfigError

__all__ = ["AppToken", "read_secret", "token_file"]

_EARLY = 300.0
"""Seconds before its end at which a token is renewed; GitHub's last an hour."""


def read_secret(path: Path, option: str) -> str:
    """The content of a file that only its owner may read.

    Raises:
        ConfigError: There is none, it is empty, or others can read it.
    """
    try:
        value = Secret.file(path).read()
    except ConfigError as error:
        raise ConfigError(str(error), option) from error
    if not value:
        raise ConfigError(f"{path} {'is empty' if value is not None else 'does not exist'}", option)
    return value.decode()


def token_file(path: Path) -> Token:
    """The token in a file, read anew for each request, so that it can be replaced.

    Raises:
        ConfigError: As :func:`read_secret`; also later, if the file goes.
    """
    read_secret(path, "--token")

    async def token() -> str:
        try:
            return read_secret(path, "--token")
        except ConfigError as error:
            raise Unavailable(str(error)) from error

    return token


class AppToken:
    """Tokens for an installation of a GitHub App.

    Source: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        app: str,
        key: str,
        installation: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; the first token is made for the first request.

        Args:
            session: For requests.
            url: Of the API.
            app: The App's id.
            key: Its private key, in PEM.
            installation: The installation's id.
            clock: Seconds since 1970.
        """
        self._client = GitHubAPI(session, "datakit-bridge-github", base_url=url)
        self._app = app
        self._key = key
        self._installation = installation
        self._clock = clock
        self._token, self._ends = "", 0.0
        self._renewing = asyncio.Lock()

    async def __call__(self) -> str:
        """A token that is valid for some minutes at least.

        Raises:
            Unavailable: GitHub gives none.
        """
        async with self._renewing:
            if self._clock() > self._ends - _EARLY:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        try:
            made = await get_installation_access_token(
                self._client,
                installation_id=self._installation,
                app_id=self._app,
                private_key=self._key,
            )
        except (GitHubException, aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"GitHub gives no token for App {self._app}: {error}") from error
        except (ValueError, PyJWTError) as error:
            raise Unavailable(f"the private key of App {self._app} is none: {error}") from error
        self._token = made["token"]
        self._ends = datetime.fromisoformat(made["expires_at"]).timestamp()
