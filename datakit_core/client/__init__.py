"""One asyncio API to a database, with two back ends.

:func:`connect` speaks 9P with a server; :func:`open_local` opens a repository of this machine
without one; :func:`reconnecting` survives restarts of the server. All give a :class:`Database`.
"""

from datakit_core.client.api import Change, ChangeKind, Database, Transaction
from datakit_core.client.local import open_local
from datakit_core.client.reconnecting import Backoff, reconnecting
from datakit_core.client.remote import connect

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
