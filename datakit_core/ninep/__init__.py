"""9P, knowing nothing of Git: the protocol, a server for nodes, a client for any server."""

from __future__ import annotations

from datakit_core.ninep.client import Client, OpenFile, connect
from datakit_core.ninep.connection import ConnectionInfo, ConnectionLimits, Root, RootFactory
from datakit_core.ninep.dialect import LINUX, PLAIN, UNIX, Dialect
from datakit_core.ninep.endpoint import (
    Endpoint,
    FdEndpoint,
    TcpEndpoint,
    TlsEndpoint,
    UnixEndpoint,
    parse_endpoint,
    private_key,
)
from datakit_core.ninep.messages import KEEP, Mode, OpenMode, WireStat
from datakit_core.ninep.server import Server, serve
from datakit_core.ninep.session import Limits, Session, Work
from datakit_core.ninep.silence import PATIENCE

__all__ = [
    "KEEP",
    "LINUX",
    "PATIENCE",
    "PLAIN",
    "UNIX",
    "Client",
    "ConnectionInfo",
    "ConnectionLimits",
    "Dialect",
    "Endpoint",
    "FdEndpoint",
    "Limits",
    "Mode",
    "OpenFile",
    "OpenMode",
    "Root",
    "RootFactory",
    "Server",
    "Session",
    "TcpEndpoint",
    "TlsEndpoint",
    "UnixEndpoint",
    "WireStat",
    "Work",
    "connect",
    "parse_endpoint",
    "private_key",
    "serve",
]
