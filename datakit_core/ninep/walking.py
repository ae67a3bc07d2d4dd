"""Walking: from a place along names to another place.

Nodes do not know what is above them, so what a fid stands for is a :class:`Place`: a node and
the way that led to it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from datakit_core.errors import NoEntry, NotDirectory, TooMany
from datakit_core.ninep.attributes import check_name, unescape
from datakit_core.vfs.answer import Answer, otherwise, then
from datakit_core.vfs.node import Directory, Node

__all__ = ["MAX_DEPTH", "Place", "follow"]

MAX_DEPTH = 1024
"""Steps from the root that a client can go."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node and how it was reached, so that ``..`` leads back.

    Attributes:
        node: The node.
        parent: Where it was reached from; none for the root.
        name: Its last path component when it was reached.
        escaped: Whether names are shown with ``%2F`` for ``/``, as the attach asked for.
        owner: The number of the user who has attached, to whom all files are shown to belong.
        depth: Steps from the root.
    """

    node: Node
    parent: Place | None
    name: str
    escaped: bool
    owner: int = 0
    depth: int = 0

    def child(self, name: str, node: Node) -> Place:
        """One step further.

        Raises:
            TooMany: It would be too deep. The places above are kept, and nodes know their paths,
                so what a fid costs grows with the square of its depth.
        """
        if self.depth >= MAX_DEPTH:
            raise TooMany(f"a path may have at most {MAX_DEPTH} directories")
        return Place(node, self, name, self.escaped, self.owner, self.depth + 1)


def follow(place: Place, names: Sequence[str]) -> Answer[Sequence[Place]]:
    """The places on the way along ``names``, one for each; at once as far as nodes answer so."""
    passed: list[Place] = []
    for done, name in enumerate(names, 1):
        found = _step(place, name)
        if not isinstance(found, Place):
            later: Answer[Place] = found
            return then(later, functools.partial(_follow_on, passed, names[done:]))
        place = found
        passed.append(place)
    return passed


def _follow_on(passed: Sequence[Place], names: Sequence[str], at: Place) -> Answer[Sequence[Place]]:
    return then(follow(at, names), lambda rest: [*passed, at, *rest])


def _step(place: Place, name: str) -> Answer[Place]:
    """Where one name leads to."""
    node = place.node
    if not isinstance(node, Directory):
        raise NotDirectory.walking()
    if name == "..":
        return place.parent or place
    check_name(name)
    if "%" in name:
        return _step_either(place, node, name)
    found = node.lookup(name)
    if isinstance(found, Node):  # the fast path
        return place.child(name, found)
    later: Answer[Node] = found
    return then(later, lambda child: place.child(name, child))


def _step_either(place: Place, node: Directory, name: str) -> Answer[Place]:
    """Look up a name that may be escaped: first as the session shows it, then as it is."""
    plain = unescape(name)
    first, second = (plain, name) if place.escaped else (name, plain)

    def step(name: str) -> Answer[Place]:
        return then(node.lookup(name), lambda child: place.child(name, child))

    return otherwise(lambda: step(first), NoEntry, lambda: step(second))
