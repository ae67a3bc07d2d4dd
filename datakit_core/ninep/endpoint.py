"""Where a server listens and a client connects: URLs and what they mean.

======================  ==========================================================
``tcp://HOST[:PORT]``   TCP; port 5640 unless given, the loopback address if HOST is empty
``tls://HOST[:PORT]``   the same within TLS, with ``cert=``, ``key=`` and ``ca=``
``unix:///PATH``        a Unix socket; ``file:///PATH`` is the same
``fd://N``              an open file descriptor: a listening socket, or one connection
======================  ==========================================================

Options follow a ``?`` and are joined with ``&``. Two of them limit what is served there:

* ``ro``: nothing can be changed.
* ``branch=PATTERN``, any number of times: only these branches. What that means is up to whoever
  makes the root for a connection; a server of something else than branches serves all of it.

``cert=FILE``, ``key=FILE`` and ``ca=FILE`` are PEM files (:mod:`datakit_core.tls`): who the
listener, or the client, is, and who signs the certificates of the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from datakit_core.errors import ConfigError

__all__ = [
    "DEFAULT_PORT",
    "Endpoint",
    "FdEndpoint",
    "TcpEndpoint",
    "TlsEndpoint",
    "UnixEndpoint",
    "parse_endpoint",
    "private_key",
]

DEFAULT_PORT = 5640
_LOOPBACK = "127.0.0.1"
_EXPECTED = "expected tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or fd://N"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A TCP address; port 0 lets the system choose one."""

    host: str = _LOOPBACK
    port: int = DEFAULT_PORT
    read_only: bool = False
    branches: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a URL."""
        address = _address(self.host, self.port)
        return f"tcp://{address}{_query(self.read_only, self.branches)}"


@dataclass(frozen=True, slots=True)
class TlsEndpoint:
    """A TCP address where both sides show certificates."""

    host: str = _LOOPBACK
    port: int = DEFAULT_PORT
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    read_only: bool = False
    branches: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a URL."""
        files = {"cert": self.cert, "key": self.key, "ca": self.ca}
        address = _address(self.host, self.port)
        return f"tls://{address}{_query(self.read_only, self.branches, files)}"


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A Unix socket in the file system."""

    path: Path
    read_only: bool = False
    branches: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a URL."""
        return f"unix://{self.path}{_query(self.read_only, self.branches)}"


@dataclass(frozen=True, slots=True)
class FdEndpoint:
    """A file descriptor that was open when the process started."""

    number: int
    read_only: bool = False
    branches: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a URL."""
        return f"fd://{self.number}{_query(self.read_only, self.branches)}"


Endpoint: TypeAlias = TcpEndpoint | TlsEndpoint | UnixEndpoint | FdEndpoint


def parse_endpoint(url: str) -> Endpoint:
    """What ``url`` means.

    Raises:
        ConfigError: It means nothing; the text says what would.
    """
    try:
        return _parse(urlsplit(url))
    except ValueError as error:
        raise ConfigError(f"{url!r} is no 9P address: {error}") from None


def private_key(url: str) -> Path | None:
    """The file with the key of a ``tls://`` address; none for any other.

    Raises:
        ConfigError: It is no address.
    """
    endpoint = parse_endpoint(url)
    return endpoint.key if isinstance(endpoint, TlsEndpoint) else None


def _parse(parts: SplitResult) -> Endpoint:
    options = parse_qsl(parts.query, keep_blank_values=True)
    files = _take_files(options) if parts.scheme == "tls" else {}
    read_only, branches = _limits(options)
    match parts.scheme:
        case "tcp":
            return TcpEndpoint(*_host_and_port(parts), read_only, branches)
        case "tls":
            host, port = _host_and_port(parts)
            return TlsEndpoint(host, port, **files, read_only=read_only, branches=branches)
        case "unix" | "file":
            return UnixEndpoint(_path(parts), read_only, branches)
        case "fd":
            return FdEndpoint(int(parts.netloc), read_only, branches)
        case _:
            raise ValueError(_EXPECTED)


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    if parts.path not in {"", "/"}:
        raise ValueError(f"unexpected path {parts.path!r}")
    port = DEFAULT_PORT if parts.port is None else parts.port
    return parts.hostname or _LOOPBACK, port


def _path(parts: SplitResult) -> Path:
    if parts.netloc or len(parts.path) < 2:
        raise ValueError("expected an absolute path after three slashes")
    return Path(unquote(parts.path))


def _take_files(options: list[tuple[str, str]]) -> dict[str, Path]:
    """The files named among ``options``, which are removed from it."""
    found = [option for option in options if option[0] in {"cert", "key", "ca"}]
    for option in found:
        options.remove(option)
        if not option[1]:
            raise ValueError(f"option {option[0]!r} needs a file")
    return {name: Path(file) for name, file in found}


def _limits(options: list[tuple[str, str]]) -> tuple[bool, tuple[str, ...]]:
    """Whether it is read-only, and to which patterns of branches it is limited."""
    read_only, branches = False, []
    for name, value in options:
        match name:
            case "ro" if not value:
                read_only = True
            case "ro":
                raise ValueError("option 'ro' takes no value")
            case "branch" if value:
                branches.append(value)
            case "branch":
                raise ValueError("option 'branch' needs a pattern, such as results/*")
            case _:
                raise ValueError(f"unknown option {name!r}")
    return read_only, tuple(branches)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _query(
    read_only: bool, branches: tuple[str, ...], files: dict[str, Path | None] | None = None
) -> str:
    options = [f"{name}={quote(str(file))}" for name, file in (files or {}).items() if file]
    options += ["ro"] if read_only else []
    options += [f"branch={quote(pattern, safe='/*?!')}" for pattern in branches]
    return f"?{'&'.join(options)}" if options else ""
