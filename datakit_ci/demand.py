"""Demand: which target asks for which need, and what is known about those that are asked for.

A need is looked for once, however many targets ask for it, and let go when the last of them does
not ask for it any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from datakit_ci.edits import Edits
from datakit_ci.need import Facts, Need, StatusOf
from datakit_ci.target import Target

__all__ = ["Demand"]


class Demand:
    """Counts who asks for what.

    Attributes:
        facts: What was found out about the needs that somebody asks for, and nothing else.
        statuses: Those of these needs that ask what other CIs say.
    """

    def __init__(
        self,
        find: Callable[[Need[Any]], None],
        let_go: Callable[[Need[Any]], None],
        news: Callable[[Target, Need[Any]], None],
        at_hand: Callable[[Need[Any]], object] = lambda _: None,
        edits: Edits | None = None,
    ) -> None:
        """Nobody asks for anything yet.

        Args:
            find: Looks a need up, and gives its answers to :meth:`record`.
            let_go: Stops that: nobody asks for it any more.
            news: Told who asked for what has changed.
            at_hand: Gives the answer to a need that takes no looking up; else none.
            edits: What differs between trees, as far as that is known.
        """
        self.facts = Facts(at_hand=at_hand, edits=edits)
        self._find = find
        self._stop = let_go
        self._news = news
        self.statuses: set[StatusOf] = set()
        self._targets = defaultdict[Need[Any], set[Target]](set)

    def __contains__(self, need: Need[Any]) -> bool:
        return need in self._targets

    def __iter__(self) -> Iterator[Need[Any]]:
        """The needs that somebody asks for."""
        return iter(self._targets)

    def targets(self, need: Need[Any]) -> AbstractSet[Target]:
        """The targets that ask for ``need``."""
        return self._targets.get(need, frozenset())

    def record(self, need: Need[Any], answer: object) -> None:
        """Take an answer; tell of whatever asked for it, if it is another one than before."""
        if need in self._targets and self.facts.record(need, answer):
            for target in self._targets[need]:
                self._news(target, need)

    def change(
        self, target: Target, gained: Collection[Need[Any]], lost: Collection[Need[Any]]
    ) -> None:
        """Find what ``target`` asks for now, and let go of what it does not ask for any more.

        In this order: a build that it wants as before is not stopped in between.
        """
        for need in gained:
            is_new = need not in self._targets
            self._targets[need].add(target)
            if is_new:
                if isinstance(need, StatusOf):
                    self.statuses.add(need)
                self._find(need)
        for need in lost:
            self._targets[need].discard(target)
            if not self._targets[need]:
                self._let_go(need)

    def let_go_of_all(self, target: Target) -> None:
        """When its evaluation broke off, so that only this knows what ``target`` asked for."""
        asked = [need for need, targets in self._targets.items() if target in targets]
        self.change(target, (), asked)

    def _let_go(self, need: Need[Any]) -> None:
        del self._targets[need]
        self.facts.forget(need)
        if isinstance(need, StatusOf):
            self.statuses.discard(need)
        self._stop(need)
