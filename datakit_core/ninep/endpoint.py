"""Where a server listens and a client connects: URLs and what they mean.

======================  ==========================================================
``tcp://HOST[:PORT]``   TCP; port 5640 unless given, the loopback address if HOST is empty
``unix:///PATH``        a Unix socket; ``file:///PATH`` is the same
``fd://N``              an open file descriptor: a listening socket, or one connection
======================  ==========================================================

``?ro`` after any of them makes what is served there read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from datakit_core.errors import ConfigError

__all__ = [
    "DEFAULT_PORT",
    "Endpoint",
    "FdEndpoint",
    "TcpEndpoint",
    "UnixEndpoint",
    "parse_endpoint",
]

DEFAULT_PORT = 5640
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A TCP address; port 0 lets the system choose one."""

    host: str = _LOOPBACK
    port: int = DEFAULT_PORT
    read_only: bool = False

    def __str__(self) -> str:
        """As a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}{_suffix(self.read_only)}"


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A Unix socket in the file system."""

    path: Path
    read_only: bool = False

    def __str__(self) -> str:
        """As a URL."""
        return f"unix://{self.path}{_suffix(self.read_only)}"


@dataclass(frozen=True, slots=True)
class FdEndpoint:
    """A file descriptor that was open when the process started."""

    number: int
    read_only: bool = False

    def __str__(self) -> str:
        """As a URL."""
        return f"fd://{self.number}{_suffix(self.read_only)}"


Endpoint: TypeAlias = TcpEndpoint | UnixEndpoint | FdEndpoint


def parse_endpoint(url: str) -> Endpoint:
    """What ``url`` means.

    Raises:
        ConfigError: It means nothing; the text says what would.
    """
    try:
        return _parse(urlsplit(url))
    except ValueError as error:
        raise ConfigError(f"{url!r} is no 9P address: {error}") from None


def _parse(parts: SplitResult) -> Endpoint:
    read_only = _read_only(parts)
    match parts.scheme:
        case "tcp":
            return _tcp(parts, read_only)
        case "unix" | "file":
            return _unix(parts, read_only)
        case "fd":
            return FdEndpoint(int(parts.netloc), read_only)
        case _:
            raise ValueError("expected tcp://HOST:PORT, unix:///PATH or fd://N")


def _tcp(parts: SplitResult, read_only: bool) -> TcpEndpoint:
    if parts.path not in {"", "/"}:
        raise ValueError(f"unexpected path {parts.path!r}")
    port = DEFAULT_PORT if parts.port is None else parts.port
    return TcpEndpoint(parts.hostname or _LOOPBACK, port, read_only)


def _unix(parts: SplitResult, read_only: bool) -> UnixEndpoint:
    if parts.netloc or len(parts.path) < 2:
        raise ValueError("expected an absolute path after three slashes")
    return UnixEndpoint(Path(unquote(parts.path)), read_only)


def _read_only(parts: SplitResult) -> bool:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    read_only = options.pop("ro", None)
    if options:
        raise ValueError(f"unknown option {next(iter(options))!r}")
    if read_only not in {None, ""}:
        raise ValueError("option 'ro' takes no value")
    return read_only is not None


def _suffix(read_only: bool) -> str:
    return "?ro" if read_only else ""
