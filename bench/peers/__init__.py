"""Other tools that run pipelines from a command line, each set up to do the same work."""

from __future__ import annotations

from bench.peers.tools import Directory, Tool, installed

__all__ = ["Directory", "Tool", "installed"]
