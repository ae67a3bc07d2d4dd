"""Which part of a repository to look at again: pure."""

from __future__ import annotations

from dataclasses import dataclass

from datakit_ci.bridges.github.resources import (
    CommentKey,
    Head,
    Key,
    Pull,
    PullKey,
    RefKey,
    Snapshot,
    StatusKey,
)

__all__ = ["NOTHING", "WHOLE", "Scope", "overlay"]

_MOST = 20
"""Single things; of more than that, all of the repository is looked at, which costs less."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a repository.

    Attributes:
        whole: All of it; then the rest does not count.
        pulls: Pull requests, with their comments and the statuses of their heads.
        refs: Branches and tags, with the statuses of their heads.
        commits: The statuses of commits.
    """

    whole: bool = False
    pulls: frozenset[int] = frozenset()
    refs: frozenset[RefKey] = frozenset()
    commits: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return self.whole or bool(self.pulls or self.refs or self.commits)

    def __or__(self, other: Scope) -> Scope:
        """Both parts."""
        both = Scope(
            self.whole or other.whole,
            self.pulls | other.pulls,
            self.refs | other.refs,
            self.commits | other.commits,
        )
        many = len(both.pulls) + len(both.refs) + len(both.commits) > _MOST
        return WHOLE if both.whole or many else both

    def holds(self, key: Key, seen: Snapshot) -> bool:
        """Whether a look that saw ``seen`` says all that there is to say of ``key``."""
        if self.whole:
            return True
        match key:
            case PullKey(number) | CommentKey(number):
                return number in self.pulls
            case RefKey():
                return key in self.refs
            case StatusKey(commit):
                return commit in self.commits or commit in _heads(self, seen)


def _heads(scope: Scope, seen: Snapshot) -> frozenset[str]:
    """The commits whose statuses came with the pull requests and refs that were looked at."""
    pulls = (seen.get(PullKey(number)) for number in scope.pulls)
    refs = (seen.get(key) for key in scope.refs)
    found = {value.head for value in pulls if isinstance(value, Pull)}
    return frozenset(found | {value.commit for value in refs if isinstance(value, Head)})


def overlay(known: Snapshot, seen: Snapshot, scope: Scope) -> Snapshot:
    """What is known after a look at a part: that part as it was seen, the rest as it was."""
    kept = {key: value for key, value in known.items() if not scope.holds(key, seen)}
    return {**kept, **{key: value for key, value in seen.items() if scope.holds(key, seen)}}


WHOLE = Scope(whole=True)
NOTHING = Scope()
