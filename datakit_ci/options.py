"""Checking what a pipeline's author writes: names, paths, times, environments.

Every mistake is a ``ConfigError`` that says which stage and which option; the place in the file
is added where the pipeline is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from datakit_ci.conditions import (
    FACTS,
    LOG_LIMIT,
    OUTPUT_LIMIT,
    PROCESSES,
    Conditions,
    Sandbox,
)
from datakit_ci.durations import parse_duration
from datakit_ci.lookup import check_path
from datakit_ci.policy_options import CommandPolicy, StagePolicy
from datakit_ci.spec import DEFAULT_POOL
from datakit_core.errors import ConfigError, InvalidName

__all__ = [
    "CommandConditions",
    "Options",
    "StageConditions",
    "check_conditions",
    "check_name",
    "check_options",
    "check_paths",
    "check_variables",
    "parse_size",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?\Z", re.IGNORECASE)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Options:
    """What both kinds of stage have in common, checked."""

    inputs: tuple[str, ...] | None
    env: tuple[tuple[str, str], ...]
    timeout: float
    pool: str
    version: str | None


class StageConditions(StagePolicy, total=False):
    """Under which conditions any stage runs: options of ``shell`` and ``@stage`` alike.

    Attributes:
        secrets: Names of secrets, given in variables of the same names; or names by variable.
        memory: What all its processes may use together, such as ``2g``; else there is no limit.
        processes: How many processes it may have at a time.
        locks: Names of which only one build in the service may hold each at a time.
        priority: Larger goes first where builds wait; 0 without it.
        facts: What it is told of the target: ``target`` (``DATAKIT_TARGET``) and ``commit``
            (``DATAKIT_COMMIT``). They become part of the key of its results.
        log_limit: How much of its log is kept, such as ``1m``.
        output_limit: How large its outputs and reports may be together.
        executor: ``"local"`` runs it beside the engine, wherever the service has others run.
    """

    secrets: Sequence[str] | Mapping[str, str]
    memory: int | str
    processes: int
    locks: Sequence[str]
    priority: int
    facts: Sequence[str]
    log_limit: int | str
    output_limit: int | str
    executor: Literal["local"]


class CommandConditions(CommandPolicy, StageConditions, total=False):
    """Under which conditions a command runs.

    Attributes:
        sandbox: Whether it is cut off from the system, by bubblewrap; ``"auto"``: if that works.
        network: Whether it reaches the network from its sandbox.
    """

    sandbox: bool | Literal["auto"]
    network: bool


def check_name(what: str, name: object) -> str:
    """Return ``name`` if a stage, job or pool may be called that; ``what`` says which it is.

    Raises:
        ConfigError: It is empty, or has characters that do not fit into addresses.
    """
    if not isinstance(name, str) or not _NAME.match(name) or ".." in name:
        raise ConfigError(
            f"{name!r} cannot be the name of a {what}: use letters, digits, . _ - and /, "
            "and begin each part with a letter or digit"
        )
    return name


def parse_size(value: int | str) -> int:
    """Bytes from a number, or from text such as ``500k``, ``2g`` (thousands, not 1024s).

    Raises:
        ConfigError: It is something else, or not more than nothing.
    """
    size = 0
    if isinstance(value, str) and (match := _SIZE.match(value.strip())):
        size = int(float(match[1]) * _BYTES[match[2].lower()])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if size <= 0:
        raise ConfigError(f"{value!r} is not a size: write bytes, or text like 500k, 20m, 2g")
    return size


def check_conditions(name: str, given: StageConditions | CommandConditions) -> Conditions:
    """Check the conditions of stage ``name``.

    Raises:
        ConfigError: One is wrong; the message names it.
    """
    unknown = set(given) - set(CommandConditions.__annotations__)
    unknown -= set(StageConditions.__annotations__)
    if unknown:
        raise ConfigError(f"stage {name}: there is no option {min(unknown)}")
    sandbox = _sandbox(name, given.get("sandbox", False))
    network = bool(given.get("network", False))
    if network and sandbox is Sandbox.NO:
        raise ConfigError(f"stage {name}: network=True is for a stage with sandbox=True")
    processes = given.get("processes", PROCESSES)
    if not isinstance(processes, int) or processes < 1:
        raise ConfigError(f"stage {name}: processes: {processes!r} is not a number of processes")
    executor = given.get("executor", "")
    if executor not in ("", "local"):
        raise ConfigError(f'stage {name}: executor: {executor!r} is not known; there is "local"')
    priority = given.get("priority", 0)
    if not isinstance(priority, int):
        raise ConfigError(f"stage {name}: priority: {priority!r} is not a whole number")
    return Conditions(
        secrets=_secrets(name, given.get("secrets", ())),
        sandbox=sandbox,
        network=network,
        memory=_size(name, "memory", given.get("memory"), 0),
        processes=processes,
        locks=_names(name, "locks", given.get("locks", ())),
        priority=priority,
        facts=_facts(name, given.get("facts", ())),
        log_limit=_size(name, "log_limit", given.get("log_limit"), LOG_LIMIT),
        output_limit=_size(name, "output_limit", given.get("output_limit"), OUTPUT_LIMIT),
        executor=executor,
    )


def _sandbox(name: str, value: object) -> Sandbox:
    match value:
        case False:
            return Sandbox.NO
        case True:
            return Sandbox.YES
        case "auto":
            return Sandbox.AUTO
        case _:
            raise ConfigError(f'stage {name}: sandbox is True, False or "auto"')


def _size(name: str, option: str, value: int | str | None, default: int) -> int:
    if value is None:
        return default
    try:
        return parse_size(value)
    except ConfigError as error:
        raise ConfigError(f"stage {name}: {option}: {error}") from error


def _names(name: str, option: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise ConfigError(f"stage {name}: {option} is a list of names, not one text")
    return tuple(sorted({check_name(option.removesuffix("s"), value) for value in values}))


def _facts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    wanted = _names(name, "facts", values)
    if unknown := set(wanted) - set(FACTS):
        known = ", ".join(sorted(FACTS))
        raise ConfigError(f"stage {name}: there is no fact {min(unknown)}; there are {known}")
    return wanted


def _secrets(name: str, wanted: Sequence[str] | Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if isinstance(wanted, str):
        raise ConfigError(f"stage {name}: secrets is a list of names, not one text")
    pairs = wanted if isinstance(wanted, Mapping) else {each: each for each in wanted}
    for variable, secret in pairs.items():
        if not isinstance(variable, str) or not _VARIABLE.match(variable):
            raise ConfigError(f"stage {name}: secrets: {variable!r} cannot name a variable")
        check_name("secret", secret)
    return tuple(sorted(pairs.items()))


def check_options(
    name: str,
    inputs: Sequence[str] | None,
    env: Mapping[str, str] | None,
    timeout: float | str,
    pool: str | None,
    version: str | None,
) -> Options:
    """Check what is common to both kinds of stage.

    Raises:
        ConfigError: An option is wrong.
    """
    check_name("stage", name)
    try:
        seconds = parse_duration(timeout)
    except ConfigError as error:
        raise ConfigError(f"stage {name}: timeout: {error}") from error
    for variable, value in (env or {}).items():
        if not _VARIABLE.match(variable) or not isinstance(value, str) or "\0" in value:
            raise ConfigError(f"stage {name}: env {variable!r}: give names and texts")
    return Options(
        inputs=None if inputs is None else check_paths(name, "inputs", inputs),
        env=tuple(sorted((env or {}).items())),
        timeout=seconds,
        pool=check_name("pool", pool or DEFAULT_POOL),
        version=version,
    )


def check_variables(name: str, variables: Mapping[str, object]) -> dict[str, str]:
    """Environment variables that a command is given as parameters; numbers become texts.

    Raises:
        ConfigError: A name or a value cannot be that of a variable.
    """
    texts: dict[str, str] = {}
    for variable, value in variables.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(
                f"stage {name}: parameter {variable}: a command's parameters are its environment "
                f"variables: give texts or numbers, not {value!r}"
            )
        if not _VARIABLE.match(variable) or "\0" in str(value):
            raise ConfigError(f"stage {name}: parameter {variable!r} is no environment variable")
        texts[variable] = str(value)
    return texts


def check_paths(name: str, option: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as the database writes them: sorted, each once, no ``./`` and no slash at the end."""
    if isinstance(paths, str):
        raise ConfigError(f"stage {name}: {option} is a list of paths, not one text")
    try:
        tidy = {check_path(path.removeprefix("./").rstrip("/")) for path in paths}
    except (InvalidName, AttributeError) as error:
        raise ConfigError(f"stage {name}: {option}: {error}") from error
    if "" in tidy or "." in tidy:
        raise ConfigError(f"stage {name}: {option}: name files and directories, not the whole tree")
    return tuple(sorted(tidy))
