"""Statuses of jobs from before the bridge was a GitHub App, beside the check runs of today.

A status cannot be taken back, and where a branch protection demands a name, GitHub wants the status
and the check run of that name to be fine. So the jobs of commits that have such statuses get check
runs, too, and from then on both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from datakit_ci.bridges.github.capabilities import Capabilities, Resource
from datakit_ci.bridges.github.resources import Key, StatusKey, Value
from datakit_ci.metadata import CONTEXT, DESCRIPTION_LIMIT, CommitStatus

__all__ = ["FormerStatuses"]


class FormerStatuses:
    """Those that were seen, by repository; no more than are on GitHub's heads."""

    def __init__(self, may: Capabilities) -> None:
        """Nothing has been seen yet.

        Args:
            may: What may be a check run.
        """
        self._may = may
        self._seen: dict[str, dict[StatusKey, CommitStatus]] = {}
        self._told: dict[str, dict[StatusKey, CommitStatus]] = {}
        self._mute: set[str] = set()

    def is_one(self, context: str) -> bool:
        """Whether a status of this context would be a check run today."""
        return context.startswith(f"{CONTEXT}/") and self._may.holds_check(context)

    def forget(self, project: str) -> None:
        """Begin anew: all of a repository is looked at."""
        before, told = self._seen.pop(project, {}), self._told.get(project, {})
        self._told[project] = {key: said for key, said in told.items() if key in before}

    def note(self, project: str, statuses: Mapping[StatusKey, CommitStatus]) -> None:
        """These are on GitHub now."""
        self._seen.setdefault(project, {}).update(statuses)

    def correct(self, project: str, found: dict[Key, Value]) -> None:
        """Leave out of a look what has to be told again, since status and check run differ."""
        for key in self._seen.get(project, {}):
            said = found.get(key)
            if isinstance(said, CommitStatus) and self.outdated(project, key, said) is not None:
                del found[key]

    def outdated(self, project: str, key: StatusKey, said: CommitStatus) -> CommitStatus | None:
        """What the status of a check run that says ``said`` has to be; none: it is that already."""
        there = self._seen.get(project, {}).get(key)
        if there is None or project in self._mute:
            return None
        if not self._may.may_write(Resource.STATUS, key.context):
            return None
        wanted = replace(said, description=said.description[:DESCRIPTION_LIMIT])
        return None if wanted in (there, self._told.get(project, {}).get(key)) else wanted

    def told(self, project: str, key: StatusKey, status: CommitStatus) -> None:
        """GitHub is told this; even if it shows something else then, it is not told again."""
        self._told.setdefault(project, {})[key] = status

    def mute(self, project: str) -> None:
        """GitHub lets us set no statuses there: check runs have to do."""
        self._mute.add(project)
