"""Which interpreters a branch is tested with: a module beside the pipeline, imported by it."""

from __future__ import annotations

__all__ = ["chosen"]


def chosen(branch: str) -> list[str]:
    """The names of the programs; all of them only where releases are made."""
    return ["python3", "python3 -W error"] if branch == "main" else ["python3"]
