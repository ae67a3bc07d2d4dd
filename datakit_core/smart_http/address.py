"""Where Git is served over HTTP, and to whom: URLs, and the files with tokens that they name."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from datakit_core.errors import ConfigError

__all__ = ["FLAG", "HttpAddress", "Token"]

FLAG = "--listen-http"
"""Where errors say that the mistake is."""

_SHORTEST = 16
"""Characters of a token; fewer could be guessed."""

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """An address, as ``http[s]://HOST:PORT[/PATH][?token=FILE&any-id&cert=FILE&key=FILE]``.

    Attributes:
        host: A name or address of this machine.
        port: 0 lets the system choose one.
        path: What comes before Git's own paths, such as ``/data.git``; empty for the root.
        token: The file with the token that pushes need; none makes the address read-only.
        any_id: Whether any object may be fetched by its id, and not only what a ref leads to.
        cert: The certificate for ``https``; none for ``http``.
        key: Its private key.
    """

    host: str
    port: int
    path: str = ""
    token: Path | None = None
    any_id: bool = False
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """What ``url`` means.

        Raises:
            ConfigError: It means nothing; the text says what would.
        """
        try:
            return cls._parse(urlsplit(url))
        except ValueError as error:
            raise ConfigError(f"{url!r} is no address for Git over HTTP: {error}", FLAG) from None

    @classmethod
    def _parse(cls, parts: SplitResult) -> Self:
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port is None:
            raise ValueError("expected http://HOST:PORT[/PATH] or https://HOST:PORT[/PATH]")
        if parts.username is not None or parts.fragment:
            raise ValueError("it has a user, a password or a fragment; a token belongs in a file")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        any_id = options.pop("any-id", None)
        if any_id:
            raise ValueError("option 'any-id' takes no value")
        known = ("token", "cert", "key") if parts.scheme == "https" else ("token",)
        files = {name: Path(value) for name, value in options.items() if name in known and value}
        if options.keys() != files.keys():
            raise ValueError(f"unknown option or missing file: {next(iter(options))!r}")
        if parts.scheme == "https" and not {"cert", "key"} <= files.keys():
            raise ValueError("https needs cert=FILE and key=FILE")
        path = parts.path.rstrip("/")
        return cls(parts.hostname, parts.port, path, any_id=any_id is not None, **files)

    def __str__(self) -> str:
        """The URL for ``git clone``."""
        scheme = "http" if self.cert is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path}/"


class Token:
    """A secret that pushes need."""

    def __init__(self, secret: str) -> None:
        """Keep ``secret``; it is in no text that this object becomes."""
        self._secret = secret.encode()

    @classmethod
    def read(cls, file: Path) -> Self:
        """The token in ``file``, without the white space around it.

        Raises:
            ConfigError: The file is not there, or is open to others, or holds no good token.
        """
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}", FLAG) from error
        try:
            _check_private(os.fstat(descriptor), file)
            content = os.read(descriptor, _LONGEST)
        finally:
            os.close(descriptor)
        secret = content.decode(errors="replace").strip()
        if len(secret) < _SHORTEST or not secret.isascii() or len(secret.split()) != 1:
            raise ConfigError(
                f"{file} must hold one word of at least {_SHORTEST} ASCII characters; "
                f"make one with: (umask 077; openssl rand -hex 32 > {file})",
                FLAG,
            )
        return cls(secret)

    def is_in(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header holds it; takes as long for every wrong token.

        It may be a bearer's token, or the password of any user, as Git sends it (RFC 6750 and
        RFC 7617).
        """
        scheme, _, given = authorization.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                secret = given.strip().encode(errors="replace")
            case "basic":
                secret = _password(given)
            case _:
                return False
        return hmac.compare_digest(secret, self._secret)


def _check_private(status: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{file} is not a file", FLAG)
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o077:
        raise ConfigError(
            f"{file} is open to other users; make it yours alone with: chmod 600 {file}", FLAG
        )


def _password(encoded: str) -> bytes:
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return pair.partition(b":")[2]
