"""What a bridge may read from GitHub and write to it, resource by resource."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from datakit_core.errors import ConfigError

__all__ = ["Capabilities", "Resource"]


class Resource(enum.Enum):
    """Something that GitHub has; the value is what options say."""

    REPOSITORY = "repo"
    PULL = "pr"
    COMMENT = "comment"
    REF = "ref"
    STATUS = "status"
    CHECK = "check"
    WEBHOOK = "webhook"


class _Access(enum.Flag):
    NONE = 0
    READ = 1
    WRITE = 2


_LETTERS = {"r": _Access.READ, "w": _Access.WRITE}
_ITEM = re.compile(r"(?P<resource>\*|[a-z]+)(?:\[(?P<context>[^\]]*)\])?:(?P<letters>[rwx]+)\Z")


@dataclass(frozen=True, slots=True)
class _Rule:
    access: _Access
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Which resources may be read and written.

    Written as items with commas between them, each ``RESOURCE:LETTERS`` or, for statuses and
    checks, ``status[CONTEXT]:LETTERS``, which is about that context and those below it. ``*`` is
    every resource that no item names. ``r`` allows reading, ``w`` writing. ``x`` is the exclusive
    right to what it names: it may be read and written, and other contexts of the resource may
    only be read, whatever else is said.

    For instance ``*:r,status[ci/datakit]:x,webhook:rw`` reads everything, and writes our statuses
    and webhooks only.

    Attributes:
        rules: By the names of resources and contexts.
        checks: Whether statuses are check runs on GitHub, where those may be written.
    """

    rules: Mapping[tuple[str, str], _Rule]
    checks: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an option's value; empty allows nothing.

        Raises:
            ConfigError: An item has another form, or names no resource.
        """
        rules = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            match = _ITEM.match(item)
            names = {"*", *(resource.value for resource in Resource)}
            if match is None or match["resource"] not in names:
                known = ", ".join(sorted(names))
                raise ConfigError(
                    f"{item!r} is no capability: RESOURCE:LETTERS, with a resource of {known} "
                    "and the letters r, w and x",
                    "--capabilities",
                )
            if match["context"] is not None and match["resource"] not in ("status", "check"):
                raise ConfigError(
                    f"{item!r}: only statuses and checks have contexts", "--capabilities"
                )
            rules[match["resource"], match["context"] or ""] = _rule(match["letters"])
        return cls(rules)

    def of_app(self) -> Self:
        """The same for a GitHub App, which may make check runs."""
        return replace(self, checks=True)

    def holds_check(self, context: str) -> bool:
        """Whether a status of this context is a check run on GitHub."""
        return self.checks and self.may_write(Resource.CHECK, context)

    def may_read(self, resource: Resource, context: str = "") -> bool:
        """Whether what GitHub says of it is to be believed."""
        return _Access.READ in self._access(resource, context)

    def may_write(self, resource: Resource, context: str = "") -> bool:
        """Whether what the database says of it is to be pushed."""
        return _Access.WRITE in self._access(resource, context)

    def _access(self, resource: Resource, context: str) -> _Access:
        """By the most particular rule: the longest context that is ``context`` or above it."""
        rule = self.rules.get((resource.value, "")) or self.rules.get(("*", ""))
        access = rule.access if rule else _Access.NONE
        ours = ""
        for (name, prefix), particular in self.rules.items():
            if name != resource.value or not prefix:
                continue
            within = context == prefix or context.startswith(f"{prefix}/")
            if within and len(prefix) > len(ours):
                ours, access = prefix, particular.access
        if not ours and self._is_exclusive(resource):
            access &= ~_Access.WRITE
        return access

    def _is_exclusive(self, resource: Resource) -> bool:
        return any(
            rule.exclusive and prefix
            for (name, prefix), rule in self.rules.items()
            if name == resource.value
        )


def _rule(letters: str) -> _Rule:
    if "x" in letters:
        return _Rule(_Access.READ | _Access.WRITE, exclusive=True)
    access = _Access.NONE
    for letter in letters:
        access |= _LETTERS[letter]
    return _Rule(access, exclusive=False)
