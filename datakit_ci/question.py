"""Questions: what can be asked of a tree, and so what a stage may have looked at."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Question", "QuestionKind"]


class QuestionKind(enum.Enum):
    """What can be asked of a tree."""

    FILE = "file"
    """The mode and id of a file; of a directory, only that it is one."""
    KIND = "kind"
    """File, directory, link or absent."""
    STAT = "stat"
    """Type, mode and size, or absent."""
    LIST = "list"
    """Names and kinds in a directory."""
    GLOB = "glob"
    """The paths that match a pattern, and their kinds."""
    TREE = "tree"
    """The mode and id of all that is at a path; the root is the path ``""``."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask of a tree.

    Attributes:
        kind: What is asked.
        path: Of which path; for a glob, the pattern.
    """

    kind: QuestionKind
    path: str

    @property
    def order(self) -> tuple[str, str]:
        """Where it stands in a sorted batch: what belongs together is together."""
        return self.path, self.kind.value
