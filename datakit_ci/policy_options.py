"""Policies as authors of pipelines write them: the options that say when a stage runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from datakit_ci.durations import parse_duration
from datakit_ci.moments import Schedule
from datakit_ci.policy import Level, Policy
from datakit_core.errors import ConfigError

__all__ = ["MAX_RETRY", "CommandPolicy", "StagePolicy", "check_level", "check_policy"]

MAX_RETRY = 100
_LAST_STATUS = 255


class StagePolicy(TypedDict, total=False):
    """When any stage runs: options of ``shell`` and ``@stage`` alike.

    Attributes:
        every: A schedule: a result that is older than its last moment is made anew.
        valid_for: How long a result is good, such as ``1d``; afterwards it is made anew.
        latched: Whether what follows uses the last output while a new one is made.
        auto_cancel: Whether a running build is stopped when nobody waits for it any more.
        retry: How often to try again after a failure for a passing reason, with growing pauses.
        level: ``harmless``, ``mostly_harmless`` or ``dangerous``: from some level on (see
            :class:`~datakit_ci.project.Config`) a person has to confirm each build.
    """

    every: str
    valid_for: float | str
    latched: bool
    auto_cancel: bool
    retry: int
    level: str | Level


class CommandPolicy(StagePolicy, total=False):
    """When a command runs.

    Attributes:
        transient: Exit statuses that mean a passing reason; they are no result.
    """

    transient: Sequence[int]


def check_policy(name: str, given: StagePolicy | CommandPolicy) -> Policy:
    """Check what says when stage ``name`` runs; options of other kinds are left alone.

    Raises:
        ConfigError: One is wrong; the message names it.
    """
    retry = given.get("retry", 0)
    if isinstance(retry, bool) or not isinstance(retry, int) or not 0 <= retry <= MAX_RETRY:
        raise ConfigError(f"stage {name}: retry: give a number of times, 0 to {MAX_RETRY}")
    statuses = given.get("transient", ())
    return Policy(
        every=_schedule(name, given.get("every")),
        valid_for=_seconds(name, given.get("valid_for")),
        latched=_flag(name, "latched", given.get("latched", False)),
        auto_cancel=_flag(name, "auto_cancel", given.get("auto_cancel", True)),
        retry=retry,
        transient=_exit_statuses(name, statuses),
        level=check_level(f"stage {name}: level", given.get("level", Level.HARMLESS)),
    )


def check_level(what: str, level: object) -> Level:
    """A level by its name.

    Raises:
        ConfigError: There is no such level; ``what`` says whose.
    """
    try:
        return Level(level)
    except ValueError:
        known = ", ".join(each.value for each in Level)
        raise ConfigError(f"{what}: {level!r} is none of {known}") from None


def _exit_statuses(name: str, statuses: object) -> tuple[int, ...]:
    if isinstance(statuses, str) or not isinstance(statuses, Sequence):
        raise ConfigError(f"stage {name}: transient is a list of exit statuses, not {statuses!r}")
    for status in statuses:
        if (
            isinstance(status, bool)
            or not isinstance(status, int)
            or not 0 < status <= _LAST_STATUS
        ):
            raise ConfigError(
                f"stage {name}: transient: give exit statuses from 1 to {_LAST_STATUS}, "
                f"not {status!r}"
            )
    return tuple(sorted(set(statuses)))


def _schedule(name: str, text: str | None) -> str:
    try:
        return "" if text is None else Schedule(text).text
    except ConfigError as error:
        raise ConfigError(f"stage {name}: every: {error}") from error


def _seconds(name: str, value: float | str | None) -> float:
    try:
        return 0.0 if value is None else parse_duration(value)
    except ConfigError as error:
        raise ConfigError(f"stage {name}: valid_for: {error}") from error


def _flag(name: str, option: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"stage {name}: {option} is True or False, not {value!r}")
    return value
