"""Check runs through GitHub's REST API: finding the newest of a name, making and changing one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlencode

from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_ci.bridges.github.checks import LONGEST_TITLE, Check, Run, requests
from datakit_ci.bridges.github.hub import Refused
from datakit_ci.bridges.github.resources import StatusKey
from datakit_ci.metadata import CommitStatus

__all__ = ["CheckRuns", "Tell"]

Tell = Callable[[str, StatusKey, CommitStatus], Awaitable[Check]]
"""Finds what a check run of a project shall say, from what its status says."""

_STATES = frozenset({"pending", "success", "failure", "error"})

_MOST = 1000
"""Check runs that are remembered; for another one GitHub is asked first."""


class _Rest(Protocol):
    """The part of gidgethub's client that is used."""

    async def getitem(self, url: str) -> Any: ...

    async def post(self, url: str, *, data: Any) -> Any: ...

    async def patch(self, url: str, *, data: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class CheckRuns:
    """Says as a GitHub App what others say by statuses.

    Attributes:
        app: The App's id.
        may: Which contexts may be check runs; the others stay statuses.
        tell: What there is to say.
        known: The newest check run of a name, as GitHub has answered last.
    """

    app: int
    may: Capabilities
    tell: Tell
    known: OrderedDict[tuple[str, StatusKey], Run]

    @classmethod
    def of(cls, app: int, may: Capabilities, tell: Tell) -> CheckRuns:
        """Those of an App; nothing is asked yet."""
        return cls(app, may, tell, OrderedDict())

    async def push(
        self, client: _Rest, project: str, key: StatusKey, status: CommitStatus
    ) -> CommitStatus:
        """Have GitHub say it; as it then is there.

        Raises:
            Refused: It is no state.
        """
        if status.state not in _STATES:
            raise Refused(f"{status.state!r} is none of {', '.join(sorted(_STATES))}")
        status = replace(status, description=status.description[:LONGEST_TITLE])
        run = self.known.pop((project, key), None) or await self._find(client, project, key)
        check = await self.tell(project, key, status)
        path = f"/repos/{project}/check-runs"
        for data in requests(check, key.context, key.commit, run):
            if run is None or "head_sha" in data:
                said = await client.post(path, data=data)
            else:
                said = await client.patch(f"{path}/{run.id}", data=data)
            run = Run.from_json(said)
        if run is not None:
            self._remember(project, key, run)
        return status

    async def _find(self, client: _Rest, project: str, key: StatusKey) -> Run | None:
        """The newest one of this name that the App has made.

        Of pages only the first is asked for: there is one check run at most, but for those of
        other suites of the same commit.
        """
        query = {"check_name": key.context, "filter": "latest", "app_id": str(self.app)}
        answer: Mapping[str, Any] = await client.getitem(
            f"/repos/{project}/commits/{key.commit}/check-runs?{urlencode(query)}"
        )
        return max(map(Run.from_json, answer["check_runs"]), key=lambda run: run.id, default=None)

    def _remember(self, project: str, key: StatusKey, run: Run) -> None:
        self.known[project, key] = run
        if len(self.known) > _MOST:
            self.known.popitem(last=False)
