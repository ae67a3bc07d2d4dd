"""Conditions: what a stage is given while it runs besides its input, and within which limits.

Those that can change what a build makes are part of the stage's identity, see
:attr:`Conditions.identity`. Limits are not: a build that exceeds one has no result that a larger
limit could make wrong.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self, cast

from datakit_ci.canonical import JsonValue

__all__ = [
    "DEFAULT_CONDITIONS",
    "FACTS",
    "LOG_LIMIT",
    "OUTPUT_LIMIT",
    "PROCESSES",
    "Conditions",
    "Sandbox",
]

LOG_LIMIT = 100_000_000
"""Bytes of a build's log that are kept."""

OUTPUT_LIMIT = 10_000_000_000
"""Bytes of a build's outputs and reports together."""

PROCESSES = 4096
"""Processes of one build at a time: a build that forks for ever ends here."""

FACTS = {"target": "DATAKIT_TARGET", "commit": "DATAKIT_COMMIT"}
"""What a stage may ask to be told of the target, and the variable that says it."""


class Sandbox(enum.StrEnum):
    """Whether a command runs in a sandbox."""

    NO = "no"
    AUTO = "auto"
    """Where one can be had."""
    YES = "yes"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions a stage runs.

    Attributes:
        secrets: Variables and the names of the secrets that they hold, sorted.
        sandbox: Whether it is cut off from the system.
        network: Whether it reaches the network from its sandbox.
        memory: Bytes that all its processes may use together; 0: no limit.
        processes: How many processes it may have at a time.
        locks: Names of which only one build in the service may hold each, sorted.
        priority: Larger goes first, whatever the project.
        facts: What it is told of the target, of ``FACTS``, sorted.
        told: Those facts with their values, once the target is known.
        log_limit: Bytes of its log that are kept.
        output_limit: Bytes of its outputs and reports together.
        untrusted: Whether it runs for a stranger, and is given nothing that others left.
        executor: ``local`` to run beside the engine, wherever other builds run.
    """

    secrets: tuple[tuple[str, str], ...] = ()
    sandbox: Sandbox = Sandbox.NO
    network: bool = False
    memory: int = 0
    processes: int = PROCESSES
    locks: tuple[str, ...] = ()
    priority: int = 0
    facts: tuple[str, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    log_limit: int = LOG_LIMIT
    output_limit: int = OUTPUT_LIMIT
    untrusted: bool = False
    executor: str = ""

    @property
    def identity(self) -> dict[str, JsonValue]:
        """What of this can change a result; empty if nothing was asked for.

        The three kinds of sandbox are three identities: so a result that was made without one can
        never be served to a stage that asks for it.
        """
        found: dict[str, JsonValue] = {}
        if self.secrets:
            found["secrets"] = [list(pair) for pair in self.secrets]
        if self.sandbox is not Sandbox.NO:
            found["sandbox"] = self.sandbox.value
            found["network"] = self.network
        if self.facts:
            found["facts"] = [list(pair) for pair in self.told] or list(self.facts)
        return found

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object; :meth:`from_json` reads it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> Self:
        """Read what :meth:`to_json` made, by way of JSON."""
        known = {key: _frozen(item) for key, item in value.items()}
        known["sandbox"] = Sandbox(cast("str", known["sandbox"]))
        return cls(**known)  # type: ignore[arg-type]  # our own JSON, from the same version


def _frozen(value: JsonValue) -> object:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value


DEFAULT_CONDITIONS = Conditions()
"""Nothing besides the input, no sandbox, and limits that only a broken build meets."""
