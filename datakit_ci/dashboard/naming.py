"""What people call a build: its stage, and what tells it apart from the other cells of a matrix."""

from __future__ import annotations

from collections.abc import Iterable

from datakit_ci.spec import stage_label
from datakit_ci.state import BuildState, TargetState

__all__ = ["known_label", "label_of"]


def known_label(build: BuildState, targets: Iterable[TargetState] = ()) -> str | None:
    """The stage with its parameters, ``unit(DB="sqlite")``; none if nobody knows them.

    They are recorded with a result. One that is not there yet is called as in the graphs of the
    ``targets`` that wait for it.
    """
    if build.occasion is not None:
        parameters = build.occasion.identity.get("parameters")
        if isinstance(parameters, dict):
            return stage_label(build.id.stage, parameters)
    drawn = (node.label for state in targets for node in state.graph if node.build == build.id)
    return next(drawn, None)


def label_of(build: BuildState, targets: Iterable[TargetState] = ()) -> str:
    """The same, or the name of the stage alone."""
    return known_label(build, targets) or build.id.stage
