"""Places in files, as messages name them."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType

__all__ = ["place", "place_of"]


def place(file: str, line: int | None = None) -> str:
    """``FILE:LINE``, or ``FILE``: relative to the current directory if it is below that."""
    path, here = Path(file), Path.cwd()
    shown = str(path.relative_to(here)) if path.is_relative_to(here) else file
    return shown if line is None else f"{shown}:{line}"


def place_of(function: FunctionType) -> str:
    """Where ``function`` begins: with its first decorator."""
    return place(function.__code__.co_filename, function.__code__.co_firstlineno)
