"""Other Git repositories as terms: their branches, tags, pull requests and single commits.

What a term names is fetched into the database, with its history, so that it has a tree like any
other: a command that is given it runs in a checkout. A second fetch of a repository brings only
what is new; fetches from one URL follow one another. User and password of a URL are on no command
line and in no log, and terms do not show them.

Submodules are not fetched and are left out of a checkout. Of files that Git LFS keeps
elsewhere there are the pointers. A repository that is shallow itself cannot be fetched from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from datakit_ci.durations import parse_duration
from datakit_ci.need import Fetched, IsAfter
from datakit_ci.operation import Head
from datakit_ci.term import Term, pair, tree_of
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError

__all__ = ["Remote", "is_after"]

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_USER = re.compile(r"//[^/\s]*@")
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository somewhere else.

    Attributes:
        url: ``https://``, ``ssh://``, ``git://`` or ``file://``, or an absolute path.
        every: How often to look whether a ref has moved: seconds, or text such as ``5m``.
    """

    url: str = field(repr=False)
    every: float | str = 60.0

    def __post_init__(self) -> None:
        """Check the time; raises ``ConfigError``."""
        parse_duration(self.every)

    def commit(self, ref: str) -> Term[CommitId]:
        """The commit that ``ref`` is at: a full ref name, or the 40 digits of a commit.

        A server decides which commits it gives by their digits; GitHub gives any.

        Raises:
            ConfigError: It is neither.
        """
        every = 0.0 if _COMMIT.match(ref) else parse_duration(self.every)
        if every and not ref.startswith("refs/"):
            raise ConfigError(
                f"{ref!r} is not a full ref name: write branch(NAME), tag(NAME), "
                "pull_request(NUMBER), refs/... or all digits of a commit"
            )
        shown = ref[:_SHORT] if not every else ref.removeprefix("refs/")
        return Term(Head(Fetched(self.url, ref, every), f"{shown} of {self._shown}"))

    def branch(self, name: str) -> Term[CommitId]:
        """The head of a branch."""
        return self.commit(f"refs/heads/{name}")

    def tag(self, name: str) -> Term[CommitId]:
        """The commit of a tag."""
        return self.commit(f"refs/tags/{name}")

    def pull_request(self, number: int) -> Term[CommitId]:
        """The head of a pull request, as GitHub and Gitea keep it."""
        return self.commit(f"refs/pull/{number}/head")

    def tree(self, ref: str) -> Term[Tree]:
        """The tree of :meth:`commit`."""
        return tree_of(self.commit(ref))

    @property
    def _shown(self) -> str:
        """The URL for people, without user and password."""
        return _USER.sub("//", self.url).rpartition("//")[2]


def is_after(newer: Term[CommitId], older: Term[CommitId]) -> Term[bool]:
    """Whether ``older`` is ``newer`` itself, or in its history."""

    def ask(commits: tuple[CommitId, CommitId]) -> Term[bool]:
        first, second = commits
        title = f"{first[:_SHORT]} after {second[:_SHORT]}"
        return Term(Head(IsAfter(first, second), title))

    return pair(newer, older).bind(ask, "is after")
