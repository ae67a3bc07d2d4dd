"""Writing objects and moving refs: one writer for each store.

pygit2 holds the interpreter's lock while it writes and while it waits for the disk, so a thread
would not protect the event loop: the default writer is a process
(:mod:`datakit_core.store.process`). :class:`InlineWriter` runs the same code in place, for
commands that do one thing and leave, and for tests.

What is acknowledged is on disk. Requests that have arrived together are handed to
:meth:`~datakit_core.store.applier.Applier.apply` together, in order, and share one sync.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from datakit_core.errors import DatakitError
from datakit_core.store.applier import Applier, Durability
from datakit_core.store.requests import Request, Value

__all__ = ["InlineWriter", "Writer", "WriterFactory"]


class Writer(Protocol):
    """Where a store's requests go.

    Requests are carried out in the order of the calls. A caller that is cancelled while it waits
    does not undo a request that has been submitted.
    """

    async def submit(self, request: Request) -> Value:
        """Carry out ``request``; returns when the outcome is on disk.

        Raises:
            HeadMoved: A ref of a ``Write`` is not where it was expected; none was moved.
            UnknownObject: A commit of a question is not there.
            RepositoryError: The disk, or the writer, failed; the outcome is unknown.
        """
        ...

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        ...


WriterFactory: TypeAlias = Callable[[Path], Writer]
"""Makes the writer for the repository at a path; nothing may be started before it is used."""


class InlineWriter:
    """Writes in the calling process, and blocks it meanwhile."""

    def __init__(self, path: Path, durability: Durability = Durability.FULL) -> None:
        """Write to the repository at ``path``, which is opened at the first request."""
        self._path, self._durability = path, durability
        self._applier: Applier | None = None

    async def submit(self, request: Request) -> Value:
        """As :meth:`Writer.submit`."""
        if self._applier is None:
            self._applier = Applier(self._path, self._durability)
        (answer,) = self._applier.apply([request])
        self._applier.tend()
        if isinstance(answer, DatakitError):
            raise answer
        return answer

    async def close(self) -> None:
        """As :meth:`Writer.close`."""
        applier, self._applier = self._applier, None
        if applier is not None:
            applier.close()
