"""Sockets to listen on: opened with the right permissions, and with errors that say what to do."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datakit_core.errors import ConfigError
from datakit_core.ninep.endpoint import (
    Endpoint,
    FdEndpoint,
    TcpEndpoint,
    TlsEndpoint,
    UnixEndpoint,
)
from datakit_core.ninep.silence import PATIENCE, ask_when_idle
from datakit_core.tls import server_context

__all__ = ["describe_peer", "holder_of", "open_socket", "remove_socket", "security"]

_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")
"""pid, uid and gid: ``struct ucred`` of unix(7)."""


def open_socket(endpoint: Endpoint) -> tuple[socket.socket, Endpoint]:
    """A listening socket, and the endpoint with the port that it got.

    Its connections send replies at once (TCP_NODELAY in tcp(7), which accept(2) passes on): a
    watcher has asked long ago, and would else be told only when its kernel has acknowledged the
    reply before, up to 40 ms later. asyncio sees to this only for sockets that it made itself.
    A client that is gone without a word is let go after a while, with all that is kept for it.

    Raises:
        ConfigError: It cannot be had: in use, not permitted, no such address.
    """
    try:
        listener, bound = _open(endpoint)
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask_when_idle(listener, PATIENCE)
    except OSError as error:
        raise ConfigError(f"cannot listen: {_remedy(error)}", str(endpoint)) from error
    return listener, bound


def _open(endpoint: Endpoint) -> tuple[socket.socket, Endpoint]:
    match endpoint:
        case TcpEndpoint() | TlsEndpoint():
            return _tcp(endpoint)
        case UnixEndpoint(path):
            return _unix(path), endpoint
        case FdEndpoint(number):
            return socket.socket(fileno=number), endpoint


def security(endpoint: Endpoint) -> ssl.SSLContext | None:
    """What a listener needs for TLS; none where there is none.

    Raises:
        ConfigError: A certificate or key is missing or makes no sense.
    """
    if isinstance(endpoint, TlsEndpoint):
        return server_context(endpoint.cert, endpoint.key, endpoint.ca)
    return None


def remove_socket(endpoint: Endpoint) -> None:
    """Remove a Unix socket's file when nobody listens on it any more."""
    if isinstance(endpoint, UnixEndpoint):
        endpoint.path.unlink(missing_ok=True)


def describe_peer(connection: socket.socket) -> str:
    """Who is at the other end, for the log.

    Raises:
        PermissionError: A Unix socket's peer is neither our user nor root. The socket's mode
            keeps others out already; this holds even where somebody has changed it.
    """
    if connection.family != socket.AF_UNIX:
        host, port = connection.getpeername()[:2]
        return f"{host}:{port}"
    if not hasattr(socket, "SO_PEERCRED"):
        return "local"
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    if uid not in {0, os.geteuid()}:
        raise PermissionError(f"user {uid} may not connect")
    return f"pid {pid} of user {uid}"


def holder_of(certificate: Mapping[str, object] | None) -> str:
    """The common name in a client's certificate, quoted, as ``SSLSocket.getpeercert`` has it.

    Empty where there is no certificate, or no name in it.
    """
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple), "documented"
    names = [value for part in subject for key, value in part if key == "commonName"]
    return repr(names[0]) if names else ""


def _tcp(
    endpoint: TcpEndpoint | TlsEndpoint,
) -> tuple[socket.socket, TcpEndpoint | TlsEndpoint]:
    found = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, address = found[0]
    listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    port = listener.getsockname()[1]
    return listener, replace(endpoint, port=port)


def _unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # never connectable by others, not even for a moment
    try:
        listener.bind(os.fspath(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(_BACKLOG)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; leave anything else alone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "the file exists and is no socket; remove it")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
    raise OSError(errno.EADDRINUSE, "in use")


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use; stop the other server or choose another address"
        case errno.EACCES | errno.EPERM:
            return "permission denied; choose another port or path"
        case _:
            return error.strerror or str(error)
