"""Targets: what a project tests, and how a target is named in addresses and branch names."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Self

from datakit_core.errors import ConfigError

__all__ = ["FLOWS", "Target", "TargetKind", "decode_name", "encode_name"]

_SPECIAL = re.compile(rb"[^A-Za-z0-9.]")
_ESCAPE = re.compile(rb"_([0-9a-f]{2})")


def encode_name(*parts: str) -> str:
    """Join ``parts`` into one branch-name component that can be told apart again.

    Every byte that is not an ASCII letter, digit or ``.`` becomes ``_`` and two hex digits; the
    parts are joined with ``-`` (which is therefore never in an encoded part).
    """
    encoded = [part.encode(errors="surrogateescape") for part in parts]
    return "-".join(_SPECIAL.sub(_escape, part).decode("ascii") for part in encoded)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"_%02x" % found[0][0]


def decode_name(text: str) -> tuple[str, ...]:
    """The parts that :func:`encode_name` has joined; what it would not have written stays."""
    return tuple(
        _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), part.encode()).decode(
            errors="surrogateescape"
        )
        for part in text.split("-")
    )


class TargetKind(enum.Enum):
    """What sort of thing a target is; the value is its path in addresses and metadata."""

    BRANCH = "heads"
    TAG = "tags"
    PULL_REQUEST = "pr"
    FLOW = "flow"
    """What a flow publishes: a branch of the database; it belongs to no project."""


_KINDS = {kind.value: kind for kind in TargetKind}

FLOWS = "flows"
"""Stands for the project of flows. It has no slash, so no project is called that."""


_PARSED = frozenset(kind.value for kind in TargetKind if kind is not TargetKind.FLOW)


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A branch, tag or pull request of a project.

    Attributes:
        project: ``USER/REPO``.
        kind: ``heads``, ``tags`` or ``pr``.
        name: Branch or tag name (may hold ``/``), or the pull request's number.
    """

    project: str
    kind_value: str
    name: str

    @property
    def kind(self) -> TargetKind:
        """The kind as an enum (the field is a string so that targets can be sorted)."""
        return _KINDS[self.kind_value]

    @property
    def short(self) -> str:
        """``heads/main``, ``tags/v1`` or ``pr/7``: how people name it within its project."""
        return f"{self.kind_value}/{self.name}"

    @property
    def path(self) -> str:
        """Its address: ``USER/REPO/ref/heads/main`` or ``USER/REPO/pr/7``."""
        if self.kind is TargetKind.FLOW:
            return f"{self.project}/{self.name}"
        if self.kind is TargetKind.PULL_REQUEST:
            return f"{self.project}/pr/{self.name}"
        return f"{self.project}/ref/{self.kind_value}/{self.name}"

    @property
    def status_branch(self) -> str:
        """The database branch with this target's history: ``status-USER-REPO-ref-heads-main``."""
        if self.kind is TargetKind.FLOW:
            return "status-" + encode_name(self.project, self.name)
        user, _, repo = self.project.partition("/")
        middle = ("pr",) if self.kind is TargetKind.PULL_REQUEST else ("ref", self.kind_value)
        return "status-" + encode_name(user, repo, *middle, self.name)

    @classmethod
    def parse(cls, project: str, short: str) -> Self:
        """Read ``heads/NAME``, ``tags/NAME`` or ``pr/N``.

        Raises:
            ConfigError: ``short`` has another form.
        """
        kind, _, name = short.partition("/")
        if kind not in _PARSED or not name:
            raise ConfigError(f"{short!r} is not a target; write heads/NAME, tags/NAME or pr/N")
        return cls(project, kind, name)

    @classmethod
    def named(cls, text: str) -> Self:
        """Read a whole name: ``USER/REPO/heads/NAME``, its address (with ``ref/``) or ``pr/N``.

        What a flow publishes is ``flows/BRANCH``.

        Raises:
            ConfigError: ``text`` has another form.
        """
        user, _, rest = text.partition("/")
        repository, _, short = rest.partition("/")
        kind, _, name = short.removeprefix("ref/").partition("/")
        known = kind in {member.value for member in TargetKind}
        if not (known and user and repository and name):
            if user == FLOWS and rest:
                return cls(FLOWS, TargetKind.FLOW.value, rest)
            raise ConfigError(
                f"{text!r} is not a target; write USER/REPO/heads/NAME, USER/REPO/tags/NAME or "
                "USER/REPO/pr/N"
            )
        return cls(f"{user}/{repository}", kind, name)
