"""What people are offered to do, given where things stand: pure."""

from __future__ import annotations

from dataclasses import dataclass

from datakit_ci.rulings import UNCONFIRMED
from datakit_ci.state import BuildState, GraphNode, Status, TargetState
from datakit_ci.target import TargetKind
from datakit_ci.verdict import UNAPPROVED

__all__ = ["BuildOffers", "TargetOffers", "offers_of_build", "offers_of_target"]

_BAD = frozenset({Status.FAILURE, Status.ERROR, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class BuildOffers:
    """What can be done about a build.

    Attributes:
        rebuild: It has ended, so it can be made again.
        cancel: It runs or waits.
        confirm: It waits for a person to let it run.
    """

    rebuild: bool
    cancel: bool
    confirm: bool


@dataclass(frozen=True, slots=True)
class TargetOffers:
    """What can be done about a target.

    Attributes:
        failed: Some of it did not pass, and can be tried again.
        rebuild: The jobs that have ended, by name.
        cancel: Something runs or waits.
        confirm: What waits for a person to let it run.
        approve: It is a fork's pull request that waits for a person.
    """

    failed: bool
    rebuild: tuple[str, ...]
    cancel: bool
    confirm: tuple[GraphNode, ...]
    approve: bool


def offers_of_build(build: BuildState) -> BuildOffers:
    """What to offer for a build."""
    ended = build.status.is_final
    held = build.status is Status.WAITING and build.reason == UNCONFIRMED
    return BuildOffers(rebuild=ended, cancel=not ended, confirm=held)


def offers_of_target(state: TargetState) -> TargetOffers:
    """What to offer for a target."""
    statuses = {node.status for node in state.graph if node.build is not None}
    approve = state.target.kind is TargetKind.PULL_REQUEST and any(
        job.status is Status.WAITING and UNAPPROVED in job.description for job in state.jobs
    )
    return TargetOffers(
        failed=bool(_BAD & statuses),
        rebuild=tuple(job.name for job in state.jobs if job.builds and job.status.is_final),
        cancel=any(not status.is_final for status in statuses),
        confirm=tuple(node for node in state.graph if _is_held(node)),
        approve=approve,
    )


def _is_held(node: GraphNode) -> bool:
    return node.build is not None and node.status is Status.WAITING and UNCONFIRMED in node.reason
