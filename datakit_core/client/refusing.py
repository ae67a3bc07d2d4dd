"""The part of the client API that changes something, for databases that are only read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NoReturn

from datakit_core.client.api import Transaction
from datakit_core.errors import ReadOnly
from datakit_core.store.objects import CommitId, Entry, TreeId

__all__ = ["Refusing"]


class Refusing:
    """Refuses every change with :attr:`why_read_only`."""

    why_read_only = "this database is opened for reading only"

    def _refuse(self) -> NoReturn:
        raise ReadOnly(self.why_read_only)

    def transaction(self, branch: str) -> AbstractAsyncContextManager[Transaction]:
        """Refused."""
        self._refuse()

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Refused."""
        self._refuse()

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Refused."""
        self._refuse()

    async def merge(self, branch: str, commit: CommitId, message: str = "") -> CommitId:
        """Refused."""
        self._refuse()

    async def remove_branch(self, branch: str) -> None:
        """Refused."""
        self._refuse()

    async def rename_branch(self, old: str, new: str) -> None:
        """Refused."""
        self._refuse()

    async def import_directory(self, path: Path) -> TreeId:
        """Refused."""
        self._refuse()

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Refused."""
        self._refuse()

    async def fetch(self, url: str, ref: str) -> CommitId:
        """Refused."""
        self._refuse()
