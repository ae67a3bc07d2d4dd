"""The roster: the targets and flows that an engine tests, each with what it has come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from datakit_ci.evaluate import Evaluating
from datakit_ci.need import Need
from datakit_ci.output import Output
from datakit_ci.state import BuildId, BuildState, JobState, TargetState
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import Commit, CommitId

__all__ = ["Roster", "Shown", "Watched"]


class Shown(NamedTuple):
    """A job as people see it, and what that was made of."""

    output: Output[object]
    recorded: BuildState | None
    job: JobState


@dataclass(slots=True)
class Watched:
    """A target, and what its last evaluation said.

    Attributes:
        head: Where it is; of a flow, the commit that it is made from.
        commit: The head, if it can be read.
        state: What people are shown.
        title: What a pull request is about.
        evaluator: Its jobs; none before they are first evaluated, and if that has failed.
        is_current: Whether the evaluator is of the present pipeline.
        shown: By job, what ``state`` says of it, with what that was made of.
        leaving: Builds that are not asked for at the moment, while it is not known yet which are:
            after a small change they may be the same ones, and must not be stopped in between.
    """

    target: Target
    head: CommitId | None
    commit: Commit | None
    state: TargetState
    title: str = ""
    evaluator: Evaluating | None = None
    is_current: bool = False
    shown: dict[str, Shown] = field(default_factory=dict)
    leaving: set[Need[Any]] = field(default_factory=set)

    @property
    def is_flow(self) -> bool:
        """Whether it leads from branch to branch of the database."""
        return self.target.kind is TargetKind.FLOW

    def described(self) -> TargetState:
        """Its state when nothing is known of its jobs."""
        commit = self.commit
        state = TargetState(self.target, self.head, title=self.title)
        if commit is None:
            return state
        return replace(
            state,
            subject=commit.message.partition("\n")[0],
            author=commit.author.name,
            committed=datetime.fromtimestamp(commit.committer.time, UTC),
        )


class Roster:
    """Every target and flow that is tested now, by name; targets also by where they are."""

    def __init__(self) -> None:
        """Know of none."""
        self._targets: dict[Target, Watched] = {}
        self._flows: dict[Target, Watched] = {}
        self._order: list[Watched] | None = None  # the targets, sorted; none: not known
        self._at = defaultdict[CommitId, set[Target]](set)

    def __contains__(self, target: Target) -> bool:
        return target in self._targets

    def __iter__(self) -> Iterator[Target]:
        """The targets, flows left out."""
        return iter(self._targets)

    @property
    def has_flows(self) -> bool:
        """Whether there is a flow."""
        return bool(self._flows)

    def get(self, target: Target) -> Watched | None:
        """One target or flow; none if it is not tested (any more)."""
        return self._targets.get(target) or self._flows.get(target)

    def watched(self) -> list[Watched]:
        """The targets, in no order."""
        return list(self._targets.values())

    def targets(self) -> Sequence[TargetState]:
        """The state of every target, sorted."""
        if self._order is None:
            self._order = [self._targets[target] for target in sorted(self._targets)]
        return [watched.state for watched in self._order]

    def flows(self) -> Sequence[TargetState]:
        """The state of every flow, in the pipeline's order."""
        return [watched.state for watched in self._flows.values()]

    def at(self, head: CommitId) -> list[TargetState]:
        """The targets at a commit."""
        return [self._targets[target].state for target in self._at.get(head, ())]

    def commit(self, id_: CommitId) -> Commit | None:
        """A commit that a target is at, if it can be read; none of any other."""
        for target in self._at.get(id_, ()):
            return self._targets[target].commit
        return None

    def builds(self) -> frozenset[BuildId]:
        """The builds that targets show now, whether they run or are recorded."""
        states = [watched.state for watched in self._targets.values()]
        named = {build for state in states for job in state.jobs for build in job.builds}
        drawn = {node.build for state in states for node in state.graph if node.build is not None}
        return frozenset(named | drawn)

    def move(self, target: Target, head: CommitId, commit: Commit | None) -> None:
        """A target is new, or is at another commit."""
        watched = self._targets.get(target)
        if watched is None:
            self._order = None
            self._targets[target] = Watched(target, head, commit, TargetState(target, head))
        else:
            self._leave(watched)
            watched.head, watched.commit = head, commit
        self._at[head].add(target)

    def remove(self, watched: Watched) -> None:
        """A target or flow is gone."""
        if watched.is_flow:
            del self._flows[watched.target]
        else:
            self._order = None
            del self._targets[watched.target]
            self._leave(watched)

    def expire(self) -> None:
        """The pipeline is another one: evaluations of targets are not current any more."""
        for watched in self._targets.values():
            watched.is_current = False

    def set_flows(self, wanted: Collection[Target]) -> Mapping[Target, Watched]:
        """Test these flows and no others; returns those that were tested and are not wanted."""
        old = self._flows
        self._flows = {
            target: old.get(target) or Watched(target, None, None, TargetState(target))
            for target in wanted
        }
        for watched in self._flows.values():
            watched.is_current = False
        return {target: watched for target, watched in old.items() if target not in self._flows}

    def _leave(self, watched: Watched) -> None:
        """``watched`` is no more at its head."""
        assert watched.head is not None
        there = self._at[watched.head]
        there.discard(watched.target)
        if not there:
            del self._at[watched.head]
