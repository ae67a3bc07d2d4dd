"""One asyncio API to a database, with two back ends.

:func:`connect` speaks 9P with a server; :func:`open_local` opens a repository of this machine
without one; :func:`reconnecting` survives restarts of the server. All give a :class:`Database`.
The back ends are imported when they are asked for.
"""

from typing import TYPE_CHECKING

from datakit_core import lazy
from datakit_core.client.api import Change, ChangeKind, Database, Transaction

if TYPE_CHECKING:
    from datakit_core.client.local import open_local
    from datakit_core.client.reconnect import Backoff, reconnecting
    from datakit_core.client.remote import connect
else:
    __getattr__ = lazy.attributes(
        __name__,
        {
            "Backoff": "reconnect",
            "connect": "remote",
            "open_local": "local",
            "reconnecting": "reconnect",
        },
    )

__all__ = [
    "Backoff",
    "Change",
    "ChangeKind",
    "Database",
    "Transaction",
    "connect",
    "open_local",
    "reconnecting",
]
