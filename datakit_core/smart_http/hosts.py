"""In whose name a request comes: what only this machine can reach is not for other names.

A page in somebody's browser may have a name that it lets point to 127.0.0.1 once it has been
loaded; what it then reads under that name would leave the machine (DNS rebinding).
"""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["host_name", "is_for_us", "is_loopback"]


def is_for_us(asked: str, host: str) -> bool:
    """Whether a request names this server, if only this machine can reach it.

    Args:
        asked: Its ``Host``.
        host: The name or address that is listened on.
    """
    return not is_loopback(host) or is_loopback(host_name(asked))


def host_name(asked: str) -> str:
    """The name or address in a ``Host``, without a port and brackets."""
    has_port = ":" in asked and not asked.endswith("]")
    return (asked.rpartition(":")[0] if has_port else asked).strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a name or address leads to this machine only (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
