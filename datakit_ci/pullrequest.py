"""Pull requests: what is known of one, and whether it is a fork's.

A branch of the repository itself was pushed by somebody who may do so. A pull request can come from
anybody, with any code in it: then nothing of it decides how it is tested.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

__all__ = ["FIELDS", "Forks", "PullRequest"]

FIELDS = ("owner", "base", "fork", "title")
"""The files of ``USER/REPO/pr/N`` that are read."""


class Forks(enum.Enum):
    """What becomes of a fork's pull request."""

    APPROVE = "approve"
    """Each head that it gets waits until a person has approved it."""
    APPROVE_ONCE = "approve_once"
    """It waits until a person has approved any head of it."""
    NEVER = "never"
    """It is not tested."""
    TRUSTED = "trusted"
    """It is tested as if it came from the repository itself."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What ``github-metadata`` says of a pull request.

    Attributes:
        owner: Who has the repository that the head is in; empty: that is not said.
        base: The branch that it is for; empty: that is not said.
        fork: Whether it is a fork's, where somebody says so outright.
        title: For people.
    """

    owner: str = ""
    base: str = ""
    fork: bool | None = None
    title: str = ""

    @classmethod
    def parse(cls, files: Mapping[str, str]) -> Self:
        """Read the contents of its files, by name; those of no interest do not matter."""
        said = files.get("fork", "")
        fork = None if not said else said != "false"
        return cls(files.get("owner", ""), files.get("base", ""), fork, files.get("title", ""))

    def is_fork(self, project: str) -> bool:
        """Whether it comes from outside of ``project``, ``USER/REPO``.

        A file ``fork`` decides, if there is one: only ``false`` means no. Else it is one unless its
        ``owner`` is ``USER``; names differ by more than case (GitHub does the same). Who does not
        say where a head comes from is not trusted.
        """
        if self.fork is not None:
            return self.fork
        return self.owner.casefold() != project.partition("/")[0].casefold()
