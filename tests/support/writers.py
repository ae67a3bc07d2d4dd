"""Writers that decide when a store's requests are carried out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from datakit_core.store import InlineWriter
from datakit_core.store.requests import Request, Value

__all__ = ["BatchWriter"]


class BatchWriter:
    """Carries requests out in batches, and acknowledges a batch when all of it is done.

    Attributes:
        size: How many requests make a batch.
    """

    def __init__(self, path: Path) -> None:
        """Write to the repository at ``path``, at first request by request."""
        self.size = 1
        self._writer = InlineWriter(path)
        self._batch: list[tuple[Request, asyncio.Future[Value]]] = []

    async def submit(self, request: Request) -> Value:
        """Wait for the batch to be full and done."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Value] = loop.create_future()
        self._batch.append((request, done))
        if len(self._batch) >= self.size:
            batch, self._batch = self._batch, []
            answers = [(waiter, await self._writer.submit(wanted)) for wanted, waiter in batch]
            for waiter, answer in answers:
                loop.call_soon(waiter.set_result, answer)
        return await done

    async def close(self) -> None:
        """Stop."""
        await self._writer.close()
