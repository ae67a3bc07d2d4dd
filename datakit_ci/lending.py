"""Lending: results of another database, such as a CI's, copied from there when they are wanted.

The other database is only read. What is copied is a result with its log and its output; it is
found from then on as if it had been made here.
"""

from __future__ import annotations

import logging
from contextlib import aclosing

from datakit_ci.decisions import add_result, find_results, observe
from datakit_ci.need import Build
from datakit_ci.state import BuildId
from datakit_ci.trace import Asker, declared
from datakit_core.client.api import BlobId, Database, FileMode, Transaction, TreeId
from datakit_core.errors import DatakitError, NotFastForward

__all__ = ["Lender"]

_log = logging.getLogger(__name__)


class Lender:
    """Copies results from one database to another."""

    def __init__(self, source: Database, database: Database, name: str) -> None:
        """Copy from ``source``, which people know as ``name``, to ``database``."""
        self._source = source
        self._database = database
        self._name = name

    async def lend(self, need: Build, asker: Asker) -> bool:
        """Copy the result that answers ``need``; false if there is none, or it cannot be read.

        Args:
            need: What is wanted.
            asker: Answers questions about its input.
        """
        try:
            return await self._lend(need, asker)
        except DatakitError as error:
            _log.warning("no result of %s from %s: %s", need.spec.name, self._name, error)
            return False

    async def _lend(self, need: Build, asker: Asker) -> bool:
        stage = BuildId(need.project, need.spec.name, need.spec.static_digest(need.project), "")
        head = await self._source.head(stage.branch)
        if head is None:
            return False
        root = (await self._source.commit(head)).tree
        place = stage.directory.rpartition("/runs/")[0]
        trace = await self._source.entry(root, f"{place}/trace")
        if trace is None:
            return False
        async with aclosing(find_results(self._source, TreeId(trace.id), asker)) as results:
            async for key, _ in results:
                run = await self._source.entry(root, f"{place}/runs/{key}")
                if run is not None and run.is_directory:
                    await self._copy(need, asker, stage.branch, place, key, TreeId(run.id))
                    return True
        return False

    async def _copy(
        self, need: Build, asker: Asker, branch: str, place: str, key: str, run: TreeId
    ) -> None:
        """Commit the result here, again if somebody else commits meanwhile.

        It is found by all that the stage could look at; what it did look at stays where it was.
        """
        observations = await observe(asker, declared(need.spec).questions)
        while True:
            async with self._database.transaction(branch) as transaction:
                path = f"{place}/runs/{key}"
                if await transaction.entry(path) is not None:
                    await transaction.remove(path)
                await self._put(transaction, path, run)
                await add_result(transaction, f"{place}/trace", observations, key)
                try:
                    await transaction.commit_if(
                        transaction.base, f"{need.spec.name}: copied from {self._name}"
                    )
                except NotFastForward:
                    continue
                return

    async def _put(self, transaction: Transaction, path: str, tree: TreeId) -> None:
        for name, entry in (await self._source.tree(tree)).items():
            below = f"{path}/{name}"
            if entry.is_directory:
                await self._put(transaction, below, TreeId(entry.id))
            elif entry.mode is FileMode.LINK:
                target = await self._source.blob(BlobId(entry.id))
                await transaction.write(below, target, entry.mode)
            else:
                pieces = self._source.stream_blob(BlobId(entry.id))
                await transaction.write_stream(below, pieces, entry.mode)
