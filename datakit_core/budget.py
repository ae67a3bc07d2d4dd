"""Budgets of memory: what one connection, and all of them together, may make the server hold.

The figures are estimates by those who hold something, good to a factor of two or so: what counts
is that nothing which a client can make is free.
"""

from __future__ import annotations

from datakit_core.errors import NoMemory

__all__ = ["Budget"]


class Budget:
    """An amount of bytes that can be used up, as a part of a greater one."""

    __slots__ = ("_name", "_of", "limit", "used")

    def __init__(self, limit: int, name: str = "server", of: Budget | None = None) -> None:
        """Nothing is used yet.

        Args:
            limit: Bytes.
            name: Whose it is, for the error.
            of: The budget that this one is a part of; what is used here is used there.
        """
        self.limit = limit
        self.used = 0
        self._name, self._of = name, of

    def take(self, count: int) -> None:
        """Use ``count`` bytes.

        Raises:
            NoMemory: They are not there; nothing is taken.
        """
        if self.used + count > self.limit:
            raise NoMemory(
                f"Cannot allocate memory: this {self._name} may hold {self.limit} bytes; "
                "commit or close transactions, and clunk fids"
            )
        if self._of is not None:
            self._of.take(count)
        self.used += count

    def give(self, count: int) -> None:
        """Give back what was taken."""
        self.used -= count
        if self._of is not None:
            self._of.give(count)

    def close(self) -> None:
        """Give back all that is left."""
        self.give(self.used)
