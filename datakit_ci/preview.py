"""Previews: a forecast as text for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datakit_ci.canonical import JsonValue
from datakit_ci.forecast import Expected, Forecast
from datakit_ci.need import Fetched, HasEngine, Need
from datakit_ci.state import BuildId, BuildState

__all__ = ["preview_lines", "preview_record"]

_DIGITS = 7


def preview_lines(forecast: Forecast, *, served: bool = True) -> Iterator[str]:
    """What would run and why, what is not known yet, and what is ``served`` from which result."""
    yield from _section(
        "would run",
        [
            (_stage(each), f"{each.reason}{each.held and f'; but it {each.held}'}")
            for each in forecast.expected
        ],
    )
    yield from _section(
        "not known before these have run", [(stage, "") for stage in forecast.later]
    )
    yield from _section("not looked up", [(_source(need), "") for need in forecast.unknown])
    if served:
        results = [
            (_name(build), f"{state.status.value} {_moment(state)}")
            for build, state in forecast.served.items()
        ]
        yield from _section("there are results", results)


def preview_record(forecast: Forecast) -> Mapping[str, JsonValue]:
    """The same, and where the jobs stand."""
    return {
        "project": forecast.target.project,
        "target": forecast.target.short,
        "jobs": [
            {"name": job.name, "status": job.status.value, "description": job.description}
            for job in forecast.jobs
        ],
        "run": [
            {
                "stage": each.build.stage,
                "build": _name(each.build),
                "reason": each.reason,
                "held": each.held or None,
            }
            for each in forecast.expected
        ],
        "later": list(forecast.later),
        "unknown": [_source(need) for need in forecast.unknown],
        "served": [
            {
                "stage": build.stage,
                "build": _name(build),
                "status": state.status.value,
                "finished": _moment(state) or None,
            }
            for build, state in forecast.served.items()
        ],
    }


def _section(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = max(len(name) for name, _ in rows)
    yield f"{title}:"
    for name, said in rows:
        yield f"  {name.ljust(width)}  {said}".rstrip()


def _stage(each: Expected) -> str:
    return each.build.stage


def _source(need: Need[object]) -> str:
    if isinstance(need, HasEngine):
        return "whether there is a container engine"
    return f"{need.ref} of another repository" if isinstance(need, Fetched) else str(need)


def _name(build: BuildId) -> str:
    """As ``datakit-ci results`` names it."""
    return f"{build.project}/{build.stage}@{build.static[:_DIGITS]}/{build.key[:_DIGITS]}"


def _moment(state: BuildState) -> str:
    return f"{state.finished:%Y-%m-%dT%H:%M:%SZ}" if state.finished else ""
