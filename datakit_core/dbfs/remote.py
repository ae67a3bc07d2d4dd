"""``/remotes``: other repositories to fetch from, as one connection has named them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from datakit_core.dbfs.access import Access
from datakit_core.dbfs.layout import Layout
from datakit_core.dbfs.listing import Listing
from datakit_core.errors import (
    AlreadyExists,
    InvalidArgument,
    IoFailed,
    NoEntry,
    NotPermitted,
    StoreError,
    TooMany,
)
from datakit_core.store import Store
from datakit_core.store.git import without_credentials
from datakit_core.vfs import (
    Answer,
    CommandFile,
    Directory,
    Kind,
    Live,
    MemoryFile,
    Named,
    Node,
    Stat,
    StreamFile,
    inode_of,
    weakly,
)

__all__ = ["Remote", "RemotesDirectory"]

_MAX_URL = 4096


class Remote:
    """One remote: where it is, how to fetch from it, and what was fetched last."""

    def __init__(self, store: Store, name: str, access: Access) -> None:
        """A remote without a URL; ``access`` says what may be fetched, and into which branch."""
        inode = inode_of("remotes", name)
        self._store = store
        self._access = access
        self._head = Live()
        url = MemoryFile("url", limit=_MAX_URL, inode=inode_of(inode, "url"))
        fetch = CommandFile("fetch", weakly(self._fetch), inode=inode_of(inode, "fetch"))
        head = StreamFile("head", self._head.open, inode=inode_of(inode, "head"))
        self._url = url
        self.directory = Layout(
            name, {"url": lambda: url, "fetch": lambda: fetch, "head": lambda: head}, inode
        )

    async def _fetch(self, command: str) -> bytes:
        """Fetch the branch ``command`` into the local branch of that name.

        A full ref name, such as ``refs/tags/v1``, is fetched too, and moves no branch.
        """
        url, _, branch = self._url.content.decode(errors="surrogateescape").strip().partition("#")
        wanted = command or branch
        if not url:
            raise InvalidArgument("error: remote url is not defined")
        if not wanted:
            raise InvalidArgument("error: no head to fetch")
        is_ref = wanted.startswith("refs/")
        if not is_ref and not self._access.serves(wanted):
            raise NotPermitted
        policy = self._access.fetch
        try:
            commit = await self._store.fetch(
                await asyncio.to_thread(policy.admit, url),
                wanted if is_ref else f"refs/heads/{wanted}",
                anonymous=policy.anonymous,
            )
        except (InvalidArgument, NotPermitted) as error:
            raise type(error)(f"error: cannot fetch {without_credentials(url)}: {error}") from None
        except StoreError as error:
            raise IoFailed(f"error: cannot fetch {without_credentials(url)}: {error}") from error
        if not is_ref:
            await self._store.fast_forward(wanted, commit)
        self._head.publish(f"{commit}\n".encode())
        return b""


class RemotesDirectory(Named, Directory):
    """The remotes of a connection."""

    def __init__(
        self, store: Store, remotes: dict[str, Remote], access: Access, limit: int
    ) -> None:
        """Show ``remotes``, and let up to ``limit`` be made."""
        super().__init__("remotes", inode=inode_of("remotes"))
        self._store = store
        self._remotes = remotes
        self._access = access
        self._limit = limit

    def stat(self) -> Answer[Stat]:
        """A directory."""
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        """The remote ``name``."""
        remote = self._remotes.get(name)
        if remote is None:
            raise NoEntry
        return remote.directory

    def list(self) -> Answer[Sequence[Stat]]:
        """The remotes, in the order in which they were made."""
        return Listing(
            list(self._remotes),
            lambda name: Stat(name, Kind.DIRECTORY, inode_of("remotes", name)),
        )

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Make a remote."""
        if kind is not Kind.DIRECTORY:
            raise NotPermitted("Can only contain directories")
        if name in self._remotes:
            raise AlreadyExists
        if len(self._remotes) >= self._limit:
            raise TooMany(f"this connection has {self._limit} remotes; use one of them again")
        remote = self._remotes[name] = Remote(self._store, name, self._access)
        return remote.directory
