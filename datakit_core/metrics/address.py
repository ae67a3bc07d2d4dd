"""Where the metrics are served."""

from __future__ import annotations

import os
from dataclasses import dataclass

from datakit_core.errors import ConfigError

__all__ = ["Address"]

_DEFAULT_HOST = "127.0.0.1"
_HOST_VARIABLE = "DATAKIT_METRICS_HOST"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``PORT`` or ``HOST:PORT``; without a host, ``$DATAKIT_METRICS_HOST`` or loopback.

        Raises:
            ConfigError: It is neither.
        """
        host, _, port = text.rpartition(":")
        if not port.isascii() or not port.isdecimal() or int(port) > 0xFFFF:
            raise ConfigError(f"expected PORT or HOST:PORT, not {text!r}", "--listen-prometheus")
        host = host or os.environ.get(_HOST_VARIABLE) or _DEFAULT_HOST
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        """The URL of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"
