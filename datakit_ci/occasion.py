"""The occasion of a run: why a build was started, for whom, and what its stage was then.

Recorded with the result, so that whoever has the database can say later why it ran.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from datakit_ci.canonical import JsonValue

__all__ = ["Cause", "Occasion"]

_MOST = 10
"""Targets that are named; all others would have done as well."""


class Cause(enum.Enum):
    """Why a result that was there, if one was, would not do."""

    NEW = "new"
    """There was none."""
    REBUILD = "rebuild"
    """A person wanted it made again."""
    EXPIRED = "expired"
    """It was older than ``valid_for``."""
    SCHEDULE = "schedule"
    """It was older than the last moment of its schedule."""
    TRANSIENT = "transient"
    """It failed with an exit status that is now known to pass."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What there was to say when a build started.

    Attributes:
        cause: Why it ran.
        user: Of a rebuild: who wanted it.
        targets: Addresses and heads of targets that wanted it, at most ten.
        identity: What the stage was, by part: code, parameters, names of variables and so on.
    """

    cause: Cause = Cause.NEW
    user: str = ""
    targets: tuple[tuple[str, str], ...] = ()
    identity: Mapping[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object; :meth:`from_json` reads it."""
        found: dict[str, JsonValue] = {"cause": self.cause.value}
        if self.user:
            found["user"] = self.user
        targets: list[JsonValue] = [list(pair) for pair in self.targets[:_MOST]]
        return {**found, "targets": targets, "identity": dict(self.identity)}

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """Read what is recorded; none if nothing is, or nothing that this program understands."""
        match value:
            case {"cause": str(cause), "targets": [*pairs], "identity": dict(identity), **rest}:
                user = rest.get("user")
                if cause not in {each.value for each in Cause}:
                    return None
                targets = tuple(
                    (pair[0], pair[1])
                    for pair in pairs
                    if isinstance(pair, list) and [type(each) for each in pair] == [str, str]
                )
                named = {str(key): each for key, each in identity.items()}
                return cls(Cause(cause), user if isinstance(user, str) else "", targets, named)
            case _:
                return None
