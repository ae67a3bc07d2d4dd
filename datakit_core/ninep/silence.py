"""Noticing that nobody answers any more: a cable was cut, or a machine is gone without a word.

TCP tells nobody: an idle connection stays open for ever, and what was sent is sent again for a
quarter of an hour. The kernel is told here to ask by itself whether the other end is there, and
to end the connection when it is not (SO_KEEPALIVE in socket(7), TCP_KEEPIDLE, TCP_KEEPINTVL,
TCP_KEEPCNT and TCP_USER_TIMEOUT in tcp(7)).
"""

from __future__ import annotations

import math
import socket

__all__ = ["PATIENCE", "ask_when_idle", "end_when_silent"]

PATIENCE = 60.0
"""Seconds of silence after which a client counts its server as lost."""

_QUESTIONS = 4
"""How often an end that is silent is asked before it counts as gone."""


def end_when_silent(connection: socket.socket, seconds: float) -> None:
    """End a client's connection after so long without any sign of the other end.

    That covers both directions: an idle one is asked, and what is sent has to be acknowledged.
    Other sockets than those of TCP are left alone.
    """
    if _is_tcp(connection):
        ask_when_idle(connection, seconds)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's
            milliseconds = max(1, round(seconds * 1000))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def ask_when_idle(connection: socket.socket, seconds: float) -> None:
    """End a connection on which nothing is sent, if the other end is gone for so long.

    Who reads slowly, or has stopped to read what was sent, is there and stays. A listening socket
    passes this on to its connections.

    Args:
        connection: Other sockets than those of TCP are left alone.
        seconds: Rounded up to what the kernel can count: at least two.
    """
    if not _is_tcp(connection):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = max(1, math.ceil(seconds / (_QUESTIONS + 1)))
    # A macOS without some of these keeps what its administrator has set.
    for name, value in (
        ("TCP_KEEPIDLE", every),
        ("TCP_KEEPINTVL", every),
        ("TCP_KEEPCNT", max(1, math.ceil(seconds / every) - 1)),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_tcp(connection: socket.socket) -> bool:
    return connection.family in (socket.AF_INET, socket.AF_INET6)
