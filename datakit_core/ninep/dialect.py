"""What distinguishes 9P2000 and 9P2000.u: data, so that a further dialect is another value.

9P2000.L will be a :class:`Dialect` with messages of its own and an error reply without text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from datakit_core.errors import FileError
from datakit_core.ninep.messages import CLASSIC, Record, Rerror

__all__ = ["PLAIN", "UNIX", "UNKNOWN_VERSION", "Dialect", "negotiate"]

UNKNOWN_VERSION = "unknown"
"""The version in the reply to one that we do not speak (version(5))."""


def _text_and_number(error: FileError) -> Record:
    return Rerror(error.text, error.errno)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version of the protocol.

    Attributes:
        version: Its name in Tversion.
        unix_fields: Whether messages have their fields marked ``UNIX``.
        messages: What can be said in it, by number.
        error: Makes the reply that tells an error.
    """

    version: str
    unix_fields: bool
    messages: Mapping[int, type[Record]] = field(repr=False, hash=False, compare=False)
    error: Callable[[FileError], Record] = field(
        default=_text_and_number, repr=False, hash=False, compare=False
    )


_CLASSIC = MappingProxyType(CLASSIC)

PLAIN = Dialect("9P2000", unix_fields=False, messages=_CLASSIC)
"""What every client speaks, and what a session speaks until it has agreed on something else."""

UNIX = Dialect("9P2000.u", unix_fields=True, messages=_CLASSIC)
"""With error numbers and symbolic links."""

_SPOKEN = {dialect.version: dialect for dialect in (PLAIN, UNIX)}


def negotiate(version: str) -> Dialect | None:
    """The dialect to speak with a client that asks for ``version``; none if there is none.

    Whatever begins with ``9P`` is a variant of 9P2000 and falls back to it (version(5)).
    """
    if not version.startswith("9P"):
        return None
    return _SPOKEN.get(version, PLAIN)
