"""Parcels: values of terms as JSON, to and from the process that calls a pipeline's functions.

A function of a pipeline in a repository is called there with the value that it asks for, and what
it makes comes back. Numbers, texts and lists are themselves; whatever JSON has no word for is an
object with one key that says what it is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from datakit_ci.canonical import JsonValue
from datakit_ci.metadata import CommitStatus
from datakit_ci.result import Failed, Ok, Pending
from datakit_ci.state import Status
from datakit_ci.tree import Tree
from datakit_core.client.api import ObjectId, TreeId
from datakit_core.errors import ConfigError

__all__ = ["pack", "trees_in", "unpack", "waits_for"]


def pack(value: object) -> JsonValue:
    """``value`` as JSON; :func:`unpack` gives it back.

    Raises:
        ConfigError: It is, or holds, what cannot be written down.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() if value - value == 0:
            return value
        case list():
            return [pack(item) for item in value]
        case tuple():
            return {"tuple": [pack(item) for item in value]}
        case dict() if all(isinstance(key, str) for key in value):
            return {"dict": {key: pack(item) for key, item in value.items()}}
        case Tree():
            return {"tree": value.id}
        case datetime():
            return {"time": value.isoformat()}
        case CommitStatus():
            return {"status": [value.state, value.description, value.target_url]}
        case Ok():
            return {"ok": pack(value.value)}
        case Failed():
            return {"failed": [value.reason, value.node, value.kind.value, value.blocked]}
        case _:
            raise ConfigError(
                f"{value!r} cannot go to or come from a function of a pipeline in a repository: "
                "use numbers, texts, lists and dictionaries with text keys"
            )


def unpack(parcel: Any, trees: Collection[str] | None = None) -> object:
    """The value that was packed.

    Args:
        parcel: JSON from anywhere.
        trees: The only trees that may be in it; none: all.

    Raises:
        ConfigError: It is no parcel, or names another tree.
    """
    match parcel:
        case None | bool() | int() | float() | str():
            return parcel
        case list():
            return [unpack(item, trees) for item in parcel]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(unpack(item, trees) for item in items)
        case {"dict": dict(items), **rest} if not rest:
            return {str(key): unpack(item, trees) for key, item in items.items()}
        case {"tree": str(tree), **rest} if not rest:
            return _tree(tree, trees)
        case {"ok": value, **rest} if not rest:
            return Ok(unpack(value, trees))
        case dict():
            return _flat(parcel)
        case _:
            raise _nonsense()


def trees_in(parcel: JsonValue) -> frozenset[str]:
    """The ids of all trees that a parcel of ours names."""
    match parcel:
        case {"tree": str(tree)}:
            return frozenset((tree,))
        case list():
            parts = parcel
        case {"tuple": list(parts)}:
            pass
        case {"dict": dict(items)}:  # whose own keys say nothing
            parts = list(items.values())
        case {"ok": value}:
            parts = [value]
        case _:
            return frozenset()
    return frozenset[str]().union(*(trees_in(part) for part in parts))


def waits_for(value: object) -> str | None:
    """Why a value is not to be packed yet: some of it is a result that is pending."""
    match value:
        case Pending(reason=reason):
            return reason
        case Ok(value=inner):
            return waits_for(inner)
        case list() | tuple() | dict():
            parts = value.values() if isinstance(value, dict) else value
            return next((why for part in parts if (why := waits_for(part)) is not None), None)
        case _:
            return None


def _tree(tree: str, trees: Collection[str] | None) -> Tree:
    if trees is not None and tree not in trees:
        raise ConfigError(
            "a function of a pipeline in a repository gave a tree that it was not given: it can "
            "only pass trees on; a stage makes new ones"
        )
    return Tree(TreeId(ObjectId(tree)))


def _flat(parcel: dict[str, Any]) -> object:
    """What holds no other values."""
    try:
        match parcel:
            case {"time": str(time), **rest} if not rest:
                return datetime.fromisoformat(time)
            case {"status": [str(state), str(description), str(url)], **rest} if not rest:
                return CommitStatus(state, description, url)
            case {
                "failed": [str(reason), str(node), str(kind), bool(blocked)],
                **rest,
            } if not rest:
                return Failed(reason, node, Status(kind), blocked)
    except ValueError as error:
        raise _nonsense() from error
    raise _nonsense()


def _nonsense() -> ConfigError:
    return ConfigError("the pipeline's process wrote a value that is none")
