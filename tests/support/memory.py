"""How much memory this process has."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resident"]

_PAGE = 4096


def resident() -> int:
    """Bytes of this process that are in memory (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
