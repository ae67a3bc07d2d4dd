"""What is in force for builds, for the page of settings: values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datakit_ci.conditions import Conditions
from datakit_ci.dashboard.particulars import kept, tame
from datakit_ci.dashboard.wording import size
from datakit_ci.pools import PoolState
from datakit_ci.project import Config
from datakit_ci.state import TargetState

__all__ = ["Policies", "limits", "policies", "schedules"]


@dataclass(frozen=True, slots=True)
class Policies:
    """The rules of a service that hold where a project or a stage says nothing else.

    Attributes:
        executor: Where builds run.
        retention: How long results are kept.
        confirm: Builds of which stages a person has to confirm; empty: of none.
        pools: Units by name, sorted; none: it was never declared, so nothing can run in it.
        limits: What a stage may use that does not say it itself.
    """

    executor: str
    retention: str
    confirm: str
    pools: Mapping[str, int | None]
    limits: Mapping[str, str]


def policies(config: Config, executor: str, pools: Mapping[str, PoolState]) -> Policies:
    """The policies of a pipeline.

    Args:
        config: The pipeline.
        executor: As ``--executor`` says it.
        pools: As the engine has them, declared or not.
    """
    capacities = {name: pool.capacity for name, pool in sorted(pools.items())}
    return Policies(
        _where(executor),
        kept(config.retention),
        _levels(config),
        capacities,
        limits(Conditions()),
    )


def limits(conditions: Conditions) -> Mapping[str, str]:
    """What conditions allow, by what is limited."""
    return {
        "memory": size(conditions.memory) if conditions.memory else "as much as there is",
        "processes": str(conditions.processes) if conditions.processes else "any number",
        "log": size(conditions.log_limit),
        "outputs and reports": size(conditions.output_limit),
    }


def schedules(states: Iterable[TargetState]) -> Mapping[str, Mapping[str, int]]:
    """For each project, or that of flows: its schedules, and how many targets follow each."""
    found: dict[str, Counter[str]] = {}
    for state in states:
        labels = {node.label for node in state.graph if node.kind == "every"}
        if labels:
            of_project = found.setdefault(state.target.project, Counter())
            of_project.update(labels)
    return {project: dict(sorted(counted.items())) for project, counted in sorted(found.items())}


def _where(executor: str) -> str:
    kind, _, address = executor.partition(":")
    return f"on the cluster at {tame(address)}" if kind == "dask" else "on this machine"


def _levels(config: Config) -> str:
    if config.threshold is None:
        return ""
    word = config.threshold.value.replace("_", " ")
    return word if word == "dangerous" else f"{word} or worse"
