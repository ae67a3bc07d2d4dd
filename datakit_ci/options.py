"""Checking what a pipeline's author writes: names, paths, times, environments.

Every mistake is a ``ConfigError`` that says which stage and which option; the place in the file
is added where the pipeline is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datakit_ci.spec import DEFAULT_POOL
from datakit_ci.tree import check_path
from datakit_core.errors import ConfigError, InvalidName

__all__ = [
    "Options",
    "check_name",
    "check_options",
    "check_paths",
    "check_variables",
    "parse_duration",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)\Z")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Options:
    """What both kinds of stage have in common, checked."""

    inputs: tuple[str, ...] | None
    env: tuple[tuple[str, str], ...]
    timeout: float
    pool: str
    version: str | None


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


def parse_duration(value: float | str) -> float:
    """Seconds from a number, or from text such as ``90s``, ``5m`` or ``1h``.

    Raises:
        ConfigError: It is something else, or not more than nothing.
    """
    seconds = 0.0
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{value!r} is not a time: write seconds, or text like 90s, 5m, 1h")
    return seconds


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
