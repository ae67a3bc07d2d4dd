"""Glob patterns over ``/``-separated paths, matched one name at a time.

``*``, ``?`` and ``[...]`` match within one name, also a leading dot. A part ``**`` matches any
number of directories, and at the end all files below. Matching by steps lets a walk skip the
directories that cannot hold a match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Self, TypeAlias

__all__ = ["Pattern", "States", "is_pattern"]

States: TypeAlias = frozenset[int]
"""Positions in a pattern that some way of matching has reached; empty: no way is left."""


def is_pattern(path: str) -> bool:
    """Whether ``path`` has a character that is special in patterns."""
    return any(character in path for character in "*?[")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        parts: One for each name, ``**`` for any number of them.
    """

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern; every text is one."""
        parts = text.split("/")
        if parts[-1] == "**":
            parts.append("*")
        return cls(tuple(parts))

    @property
    def start(self) -> States:
        """Before the first name."""
        return self._past_stars({0})

    def step(self, states: States, name: str) -> States:
        """Where ``states`` lead when the next name of the path is ``name``."""
        reached: set[int] = set()
        for state in states - {len(self.parts)}:
            part = self.parts[state]
            if part == "**":
                reached.add(state)
            elif _compiled(part).match(name):
                reached.add(state + 1)
        return self._past_stars(reached)

    def is_match(self, states: States) -> bool:
        """Whether the names so far are a whole match."""
        return len(self.parts) in states

    def is_open(self, states: States) -> bool:
        """Whether more names could be matched."""
        return bool(states - {len(self.parts)})

    def matches(self, path: str) -> bool:
        """Whether the whole of ``path`` matches."""
        states = self.start
        for name in path.split("/"):
            states = self.step(states, name)
        return self.is_match(states)

    def _past_stars(self, states: set[int]) -> States:
        """Add what is reached when ``**`` matches nothing."""
        for state in tuple(states):
            following = state
            while following < len(self.parts) and self.parts[following] == "**":
                following += 1
                states.add(following)
        return frozenset(states)


@lru_cache(maxsize=256)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(translate(part))
