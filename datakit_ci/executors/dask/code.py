"""The code of the service's own pipeline as a tree: that is how it gets to the workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from datakit_core.client.api import Database, TreeId
from datakit_core.errors import ConfigError

__all__ = ["PipelineCode"]

_LARGEST = 64 << 20
"""Bytes of all files together: whoever has more keeps them in the repository that is tested."""


class PipelineCode:
    """The pipeline's file and the Python files beside it, which are what it can be made of."""

    def __init__(self, database: Database, pipeline: Path) -> None:
        """Put the directory of ``pipeline`` into ``database`` when it is asked for."""
        self._database = database
        self._pipeline = pipeline
        self._stored: tuple[dict[str, bytes], TreeId] | None = None
        self._storing = asyncio.Lock()

    async def origin(self) -> str:
        """Where the code is: ``TREE:PATH``, as a stage's ``origin`` says it.

        The files are read anew each time, since they may have changed; a build that was asked for
        with the code before notices by its fingerprint.

        Raises:
            ConfigError: They cannot be read, or are too large.
        """
        async with self._storing:
            files = await asyncio.to_thread(_read, self._pipeline)
            if self._stored is None or self._stored[0] != files:
                self._stored = files, await self._database.import_tree(files)
            return f"{self._stored[1]}:{self._pipeline.name}"


def _read(pipeline: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        for path in sorted({pipeline, *pipeline.parent.glob("*.py")}):
            if path.is_file():
                found[path.name] = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the pipeline: {error.strerror}", str(pipeline)) from error
    if sum(map(len, found.values())) > _LARGEST:
        raise ConfigError(
            f"the Python files there have more than {_LARGEST} bytes; move what is no part of the "
            "pipeline elsewhere",
            str(pipeline.parent),
        )
    return found
