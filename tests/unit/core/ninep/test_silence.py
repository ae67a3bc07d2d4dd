"""What the kernel is told, so that a connection ends when nobody is there any more."""

from __future__ import annotations

import socket

import pytest

from datakit_core.ninep.silence import ask_when_idle, end_when_silent

TCP = socket.IPPROTO_TCP


@pytest.mark.parametrize("seconds", [1.0, 2.0, 7.5, 60.0, 600.0])
def test_an_idle_end_is_asked_and_given_up_within_what_was_said_to_the_second(
    seconds: float,
) -> None:
    with socket.socket() as connection:
        ask_when_idle(connection, seconds)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, times = (
            connection.getsockopt(TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        given_up = idle + every * times
        assert max(2.0, seconds) <= given_up < seconds + every + 1
        assert connection.getsockopt(TCP, socket.TCP_USER_TIMEOUT) == 0, "who reads slowly stays"


def test_what_a_client_sends_has_to_be_acknowledged_in_time() -> None:
    with socket.socket(socket.AF_INET6) as connection:
        end_when_silent(connection, 2.5)
        assert connection.getsockopt(TCP, socket.TCP_USER_TIMEOUT) == 2500
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_socket_of_this_machine_needs_none_of_this() -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        end_when_silent(connection, 2.5)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
