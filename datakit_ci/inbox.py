"""The inbox: takes up the commands that other programs leave in the database.

An engine takes those for its own projects, and leaves the others to the engines that have them. Of
several engines for one project, one may know what another does not: so one that cannot carry a
command out leaves it for a moment, before it says no.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing

from datakit_ci.clerk import Clerk, Order
from datakit_ci.control import Command, project_of
from datakit_ci.docket import BRANCH, Docket
from datakit_ci.errands import Answer, Errand, answer_path, errand_path
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import FileError, StoreError

__all__ = ["Inbox"]

_log = logging.getLogger(__name__)

_READY = 5.0
"""Seconds that a command waits until it is known what its target wants; then it is done anyway."""

_GRACE = 0.5
"""Seconds that other engines get for a command that this one cannot carry out."""

_MOST_ANSWERS = 50
"""Answers that are kept: whoever asked reads them at once, or not at all."""

_MOST_AT_ONCE = 100
"""Commands that wait or are carried out at the same time; others stay where they are."""


class Inbox:
    """Carries out the commands that lie on the branch ``control``, each once."""

    def __init__(
        self,
        database: Database,
        docket: Docket,
        clerk: Clerk,
        projects: Callable[[], Collection[str]],
        ready: Callable[[Command], Awaitable[None]],
    ) -> None:
        """Take commands from ``database``.

        Args:
            database: Where they lie.
            docket: Takes what follows from them.
            clerk: Says what follows from them.
            projects: Those that are ours now.
            ready: Returns when it is known what a command would be about.
        """
        self._database = database
        self._docket = docket
        self._clerk = clerk
        self._projects = projects
        self._ready = ready
        self._taken: set[str] = set()

    async def follow(self) -> None:
        """Carry out what lies there and what comes; never ends by itself."""
        self._taken.clear()
        async with (
            aclosing(self._database.watch_head(BRANCH)) as heads,  # type: ignore[type-var]
            asyncio.TaskGroup() as group,
        ):
            async for head in heads:
                for id_, content in (await self._files(head, "asked")).items():
                    if id_ not in self._taken and len(self._taken) < _MOST_AT_ONCE:
                        self._taken.add(id_)
                        group.create_task(self._take(id_, content))

    async def _take(self, id_: str, content: BlobId) -> None:
        """The boundary of a command: what is wrong with it is nobody else's trouble."""
        try:
            await self._serve(id_, Errand.from_bytes(await self._database.blob(content)))
        except StoreError as error:
            await self._refuse(id_, str(error))
        except Exception:  # noqa: BLE001 - a command's boundary: the traceback is logged
            _log.exception("the command %s cannot be carried out", id_)
        finally:
            self._taken.discard(id_)

    async def _serve(self, id_: str, errand: Errand) -> None:
        command = errand.command
        if project_of(command) not in self._projects():
            return
        try:
            async with asyncio.timeout(_READY):
                await self._ready(command)
        except TimeoutError:
            _log.debug("the command %s is carried out although not all is known", id_)
        try:
            order = self._order(command)
        except FileError:
            await asyncio.sleep(_GRACE)
            if not await self._is_asked(id_):
                return
            try:
                order = self._order(command)
            except FileError as error:
                await self._refuse(id_, str(error))
                return
        _log.info("%s, by %s", order.done, order.user)
        await self._docket.write(
            order.message, order.files, await self._answered(id_, Answer(True, order.done))
        )

    def _order(self, command: Command) -> Order:
        return self._clerk.order(command, self._projects())

    async def _refuse(self, id_: str, reason: str) -> None:
        _log.info("the command %s is refused: %s", id_, reason)
        message = f"Refuse a command: {reason}"
        await self._docket.write(message, {}, await self._answered(id_, Answer(False, reason)))

    async def _answered(self, id_: str, answer: Answer) -> Mapping[str, bytes | None]:
        """The files that say that a command is done with; the oldest answers go."""
        head = await self._database.head(BRANCH)
        old = sorted(await self._files(head, "answered"))
        gone: dict[str, bytes | None] = {
            answer_path(each): None for each in old[: max(0, len(old) + 1 - _MOST_ANSWERS)]
        }
        return {**gone, errand_path(id_): None, answer_path(id_): answer.to_bytes()}

    async def _is_asked(self, id_: str) -> bool:
        return id_ in await self._files(await self._database.head(BRANCH), "asked")

    async def _files(self, head: CommitId | None, directory: str) -> Mapping[str, BlobId]:
        if head is None:
            return {}
        tree = (await self._database.commit(head)).tree
        entry = await self._database.entry(tree, directory)
        if entry is None or not entry.is_directory:
            return {}
        files = await self._database.tree(TreeId(entry.id))
        return {name: BlobId(each.id) for name, each in files.items() if not each.is_directory}
