"""Directory listings whose entries are described one by one, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

from datakit_core.vfs import Stat

__all__ = ["Listing"]

T = TypeVar("T")


class Listing(Sequence[Stat], Generic[T]):
    """What a directory holds at one moment.

    A length may cost a look into the repository, and a client with a small buffer asks for some
    entries at a time; so an entry is only described when it is about to be sent.
    """

    def __init__(self, items: Sequence[T], describe: Callable[[T], Stat]) -> None:
        """List ``items``, each as ``describe`` says at that time."""
        self._items = items
        self._describe = describe

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Stat: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Stat]: ...

    def __getitem__(self, index: int | slice) -> Stat | Sequence[Stat]:
        if isinstance(index, slice):
            return Listing(self._items[index], self._describe)
        return self._describe(self._items[index])
