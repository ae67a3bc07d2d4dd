"""What a connection may see, change and fetch, as the address says to which it has connected."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from datakit_core.store import ANYTHING, FetchPolicy

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of a connection; by default those of the server's own user.

    A pattern hides branches, and not objects: an id says what it is the id of, and who knows it
    may read that, whichever branch it is on.

    Attributes:
        branches: Patterns of the branches that exist for it, where ``*`` matches slashes too;
            none stands for all branches.
        fetch: What it may have fetched.
    """

    branches: tuple[str, ...] = ()
    fetch: FetchPolicy = ANYTHING

    @property
    def limited(self) -> bool:
        """Whether there may be branches that it does not see."""
        return bool(self.branches)

    def serves(self, branch: str) -> bool:
        """Whether it sees ``branch`` if there is one."""
        return not self.branches or any(fnmatchcase(branch, each) for each in self.branches)
