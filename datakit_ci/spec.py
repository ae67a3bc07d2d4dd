"""Stage specifications: everything that identifies what a stage runs, as a value.

A :class:`StageSpec` travels as JSON to the process that runs it and, digested, names the place of
its results. It is made by :mod:`datakit_ci.stage`, which is what pipelines use.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self, cast

from datakit_ci.canonical import JsonValue, digest
from datakit_ci.conditions import DEFAULT_CONDITIONS, Conditions
from datakit_ci.policy import Policy
from datakit_core.errors import ConfigError

__all__ = [
    "DEFAULT_POOL",
    "DEFAULT_TIMEOUT",
    "FORMAT_VERSION",
    "StageKind",
    "StageSpec",
    "stage_label",
]

FORMAT_VERSION = 1
"""Of the layout of results. A new number makes every stage run again."""

DEFAULT_POOL = "cpu"
_DIGITS = 8
"""Of the digest of a variable's value."""

DEFAULT_TIMEOUT = 600.0
"""Seconds."""


class StageKind(enum.Enum):
    """How a stage is run."""

    SHELL = "shell"
    """``sh -c COMMAND`` in a checkout of the input."""
    PYTHON = "python"
    """A function of the pipeline, in a process of its own."""
    PIPELINE = "pipeline"
    """A pipeline from a tree is imported, and its jobs are written down; never a user's stage."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage with its parameters, ready to be run on a tree.

    Attributes:
        name: Unique within the project.
        kind: How it is run.
        command: The shell command, or the function's qualified name.
        module: For a function: its module; empty when that is the pipeline file itself.
        fingerprint: 64 hex digits: digest of the code. The stage runs again when it changes.
        parameters: For a function: canonical JSON of an object, its keyword arguments.
        inputs: Paths of the input that the stage sees; none means all of it.
        outputs: Paths that a command must leave behind: its output tree.
        reports: Paths of JUnit files, kept whether the command succeeds or not.
        env: Names and values, sorted by name.
        timeout: Seconds after which the stage is killed and failed.
        pool: What it takes one unit of while it runs.
        image: The container image it runs in; empty: none.
        tools: Names and versions of what the result also depends on, sorted by name.
        conditions: What it is given besides its input, and its limits.
        policy: When it runs; no part of the key.
        origin: ``TREE:PATH`` of a pipeline that is not the service's own: the tree of its directory
            and its path in the repository. No part of the key: results outlive edits elsewhere in
            the pipeline.
    """

    name: str
    kind: StageKind
    command: str
    fingerprint: str
    module: str = ""
    parameters: str = "{}"
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    pool: str = DEFAULT_POOL
    image: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    conditions: Conditions = DEFAULT_CONDITIONS
    policy: Policy = field(default_factory=Policy)
    origin: str = ""

    def __hash__(self) -> int:
        """Of what nearly always differs: needs are looked up very often, and contain this."""
        return hash((self.name, self.fingerprint, self.parameters))

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """The :attr:`parameters` as a fresh dictionary."""
        return cast("dict[str, JsonValue]", json.loads(self.parameters))

    @property
    def label(self) -> str:
        """The name, and the parameters when there are any: ``sizes(depth=3)``."""
        return stage_label(self.name, self.arguments)

    def static_digest(self, project: str) -> str:
        """STATIC in the layout of results: what of a result's name does not depend on the input.

        Time-out, pool and policy are not part of it: they change when a stage runs, not what it
        makes.
        """
        identity: dict[str, JsonValue] = {
            "version": FORMAT_VERSION,
            "project": project,
            "stage": self.name,
            "fingerprint": self.fingerprint,
            "parameters": self.arguments,
            "image": self.image,
            "tools": [list(tool) for tool in self.tools],
        }
        if conditions := self.conditions.identity:
            identity["conditions"] = conditions
        return digest(identity)

    @property
    def parts(self) -> dict[str, JsonValue]:
        """What it is, by part: so that people can be told what has changed.

        Of variables a digest: whether a value is another one is all that people need to know.
        """
        by_parameters = self.arguments if self.kind is StageKind.SHELL else {}
        return {
            "fingerprint": self.fingerprint,
            "parameters": self.arguments,
            "inputs": None if self.inputs is None else list(self.inputs),
            "outputs": list(self.outputs),
            "reports": list(self.reports),
            "env": {
                name: digest([name, value])[:_DIGITS]
                for name, value in self.env
                if name not in by_parameters
            },
            "image": self.image,
            "tools": [list(tool) for tool in self.tools],
            "conditions": self.conditions.identity,
        }

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object, for another process; :meth:`from_json` reads it."""
        # Not asdict(), which copies every value, and takes longer than the rest of an order.
        plain: dict[str, JsonValue] = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            **plain,
            "kind": self.kind.value,
            "conditions": self.conditions.to_json(),
            "policy": self.policy.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ConfigError: Fields are missing or unknown.
        """
        names = {each.name for each in fields(cls)}
        if set(value) != names:
            wrong = ", ".join(sorted(names ^ set(value)))
            raise ConfigError(f"a stage specification has missing or unknown fields: {wrong}")
        known: dict[str, object] = {key: _frozen(item) for key, item in value.items()}
        known["kind"] = StageKind(known["kind"])
        known["conditions"] = Conditions.from_json(
            cast("Mapping[str, JsonValue]", value["conditions"])
        )
        known["policy"] = Policy.from_json(cast("dict[str, JsonValue]", value["policy"]))
        return cls(**known)  # type: ignore[arg-type]  # our own JSON: checked by name above


def stage_label(name: str, arguments: Mapping[str, JsonValue]) -> str:
    """The name of a stage, and its parameters if it has any: ``sizes(depth=3)``."""
    shown = ", ".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())
    return f"{name}({shown})" if shown else name


def _frozen(value: JsonValue) -> object:
    """JSON's lists as the tuples that make a specification hashable."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value
