"""What distinguishes 9P2000, 9P2000.u and 9P2000.L: data, so that each dialect is a value.

9P2000.L, the default of Linux mounts, replaces open, create, stat and wstat by requests like the
kernel's own, and its error reply is a number without text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import EIO
from types import MappingProxyType

from datakit_core.errors import FileError
from datakit_core.ninep.linux_messages import LINUX_MESSAGES, Rlerror
from datakit_core.ninep.messages import CLASSIC, Record, Rerror

__all__ = ["LINUX", "PLAIN", "UNIX", "UNKNOWN_VERSION", "Dialect", "negotiate"]

UNKNOWN_VERSION = "unknown"
"""The version in the reply to one that we do not speak (version(5))."""


def _text_and_number(error: FileError) -> Record:
    return Rerror(error.text, error.errno)


def _number(error: FileError) -> Record:
    return Rlerror(error.errno or EIO)  # Linux takes 0 for a bad address


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

LINUX = Dialect(
    "9P2000.L", unix_fields=True, messages=MappingProxyType(LINUX_MESSAGES), error=_number
)
"""With the requests of a Linux kernel."""

_SPOKEN = {dialect.version: dialect for dialect in (PLAIN, UNIX, LINUX)}


def negotiate(version: str) -> Dialect | None:
    """The dialect to speak with a client that asks for ``version``; none if there is none.

    Whatever begins with ``9P`` is a variant of 9P2000 and falls back to it (version(5)).
    """
    if not version.startswith("9P"):
        return None
    return _SPOKEN.get(version, PLAIN)
