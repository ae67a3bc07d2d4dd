"""A service's API, for commands: which server, whose token, and what errors mean.

With the standard library alone: a command that asks one question should not load a web framework.
Redirects are not followed, so that the token goes to the server that was named and to no other.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import typer

from datakit_core.errors import ConfigError, NoEntry

__all__ = [
    "Refused",
    "Server",
    "ServerUrl",
    "TokenFile",
    "named_server",
    "read_token",
    "with_token",
]

ServerUrl: TypeAlias = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="URL",
        help="A running service, by the address of its dashboard, instead of a database; "
        "https://HOST?sha256=FINGERPRINT or ?ca=FILE if its certificate is its own. "
        "Default: the variable DATAKIT_SERVER, if no database is named.",
        show_default=False,
    ),
]
TokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="DATAKIT_TOKEN_FILE",
        help="The file with the API token for a service; readable by you alone.",
        show_default=False,
    ),
]

_PATIENCE = 30.0
"""Seconds until a server that says nothing counts as away."""

_LONGEST = 64 << 20
"""Bytes of an answer that is read whole."""

_PIECE = 1 << 16

_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")


class Refused(NoEntry):
    """The server has understood, and there is nothing to do."""


class Server:
    """Asks one service."""

    def __init__(self, url: str, token: str = "") -> None:
        """Ask the service at ``url``, in the name of whose ``token`` it is.

        Raises:
            ConfigError: It is no address, or the token would go over the network in the clear.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        is_address = parts.scheme in ("http", "https") and parts.hostname and port != -1
        if not is_address or parts.username or parts.path not in ("", "/"):
            raise ConfigError(f"{url!r} is not of the form https://HOST[:PORT]", "--server")
        self._host, self._port = parts.hostname or "", port
        self._is_secure = parts.scheme == "https"
        self._trusted = _Trusted.named(parts.query, is_secure=self._is_secure)
        if token and not self._is_secure and not _is_here(self._host):
            raise ConfigError(
                f"{url} would send the token readable for everybody on the way; use https",
                "--server",
            )
        self._url, self._token = url.partition("?")[0].rstrip("/"), token

    @classmethod
    def named(cls, url: str, token_file: Path | None) -> Self:
        """The server that options name."""
        return cls(url, "" if token_file is None else read_token(token_file))

    def get(self, path: str, **query: str) -> Any:
        """What is at an address.

        Raises:
            NoEntry: It is not there, or not for us.
            ConfigError: The server cannot be reached, or refuses.
        """
        given = {name: value for name, value in query.items() if value}
        with self._ask("GET", f"{path}?{urlencode(given)}" if given else path) as answer:
            return _json(answer.read(_LONGEST))

    def items(self, path: str, **query: str) -> Iterator[Any]:
        """Everything in a list; raises as :meth:`get`."""
        cursor = ""
        while cursor is not None:
            part = self.get(path, limit="500", cursor=cursor, **query)
            yield from part["items"]
            cursor = part["next"]

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Have something done; raises as :meth:`get`, or ``Refused`` if there is nothing to do."""
        with self._ask("POST", path, json.dumps(body).encode()) as answer:
            return _json(answer.read(_LONGEST))

    def stream(self, path: str, **query: str) -> Iterator[bytes]:
        """The bytes at an address, as they come; raises as :meth:`get`."""
        with self._ask("GET", f"{path}?{urlencode(query)}", patience=None) as answer:
            while piece := answer.read1(_PIECE):
                yield piece

    @contextmanager
    def _ask(
        self, method: str, path: str, body: bytes | None = None, patience: float | None = _PATIENCE
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(patience)
        headers = {"Accept": "application/json", "User-Agent": "datakit-ci"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise self._error(answer)
            yield answer
        except ssl.SSLCertVerificationError as error:
            fault = getattr(error, "verify_message", None) or error
            raise ConfigError(
                f"{self._url}: {fault}. If it has made its own certificate, name it with the "
                f"fingerprint that it printed: {self._url}?sha256=FINGERPRINT",
                "--server",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(
                f"cannot reach {self._url}: {_reason(error)}; is it served there?"
            ) from error
        finally:
            connection.close()

    def _connection(self, patience: float | None) -> http.client.HTTPConnection:
        if self._is_secure:
            return _Connection(self._host, self._port, patience, self._trusted)
        return http.client.HTTPConnection(self._host, self._port, timeout=patience)

    def _error(self, answer: http.client.HTTPResponse) -> Exception:
        """What to raise for an answer that is not what was asked for."""
        detail = _detail(answer.read(_PIECE)) or answer.reason
        match answer.status:
            case 404:
                return NoEntry(detail)
            case 409:
                return Refused(detail)
            case 401:
                return ConfigError(f"{self._url}: {detail} Name its file with --token-file.")
            case status if 300 <= status < 400:
                place = answer.getheader("Location", "elsewhere")
                return ConfigError(f"{self._url} sends us to {place}; name that", "--server")
            case _:
                return ConfigError(f"{self._url}: {detail}")


@dataclass(frozen=True, slots=True)
class _Trusted:
    """Which certificates of a server are good: all that the machine trusts, of a file, or one."""

    file: str = ""
    digest: str = ""

    @classmethod
    def named(cls, query: str, *, is_secure: bool) -> Self:
        """What the query of a server's address says."""
        if not query:
            return cls()
        match parse_qsl(query, keep_blank_values=True):
            case [("ca", file)] if is_secure and file:
                return cls(file=file)
            case [("sha256", text)] if is_secure:
                digest = text.replace(":", "").lower()
                if _FINGERPRINT.match(digest):
                    return cls(digest=digest)
        raise ConfigError(
            f"?{query} is neither ?ca=FILE nor ?sha256=FINGERPRINT of an https address", "--server"
        )

    def context(self) -> ssl.SSLContext:
        """How to speak TLS; a certificate that is named by its digest is compared afterwards."""
        try:
            context = ssl.create_default_context(cafile=self.file or None)
        except OSError as error:
            raise ConfigError(f"{self.file}: {_reason(error)}", "--server") from error
        if self.digest:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class _Connection(http.client.HTTPSConnection):
    """Sends nothing before it knows that it is the server that was meant."""

    def __init__(self, host: str, port: int | None, patience: float | None, trusted: _Trusted):
        super().__init__(host, port, timeout=patience, context=trusted.context())
        self._digest = trusted.digest

    def connect(self) -> None:
        """Connect, and compare certificates."""
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        shown = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if self._digest and not hmac.compare_digest(shown, self._digest):
            raise ssl.SSLCertVerificationError(f"another certificate is there, {shown}")


def named_server(
    server: str, token_file: Path | None, connect: str | None, git: Path | None
) -> Server | None:
    """The service that options name; none: they name a database, or nothing.

    Raises:
        ConfigError: They name both, or the token cannot be used.
    """
    is_database = connect is not None or git is not None
    if server and is_database:
        raise ConfigError("--server and a database are both named; choose one")
    if not server and not is_database:
        server = os.environ.get("DATAKIT_SERVER", "")
    return Server.named(server, token_file) if server else None


def read_token(file: Path) -> str:
    """The API token in a file.

    Raises:
        ConfigError: It cannot be read, others can read it, or it holds no token.
    """
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            content = opened.read(4096)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", "--token-file") from error
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise ConfigError(
            f"{file} is open to other users; make it yours alone with: chmod 600 {file}",
            "--token-file",
        )
    token = content.decode(errors="replace").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{file} holds no API token: one word", "--token-file")
    return token


def with_token(url: str, token: str, option: str) -> str:
    """``url`` with an API token as the password, which is how Git sends one.

    Raises:
        ConfigError: It would be readable on the way.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_here(parts.hostname or ""):
        raise ConfigError(
            f"{parts.hostname} would be sent the token readable for all on the way; use https",
            option,
        )
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"datakit:{quote(token, safe='')}@{place}").geturl()


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ConfigError("the answer is not JSON; is that the address of a dashboard?") from error


def _detail(content: bytes) -> str:
    try:
        match json.loads(content):
            case {"detail": str(detail)}:
                return "".join(char if char.isprintable() else "?" for char in detail)
            case _:
                return ""
    except ValueError:
        return ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
