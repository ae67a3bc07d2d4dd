"""The database as a tree of nodes: what the 9P server serves, without 9P.

:class:`DatabaseFiles` is one database; each connection gets a :class:`DatabaseRoot` of its own,
where its walks begin and which owns what nobody else sees.
"""

from datakit_core.dbfs.access import Access
from datakit_core.dbfs.root import DatabaseFiles, DatabaseRoot
from datakit_core.dbfs.view import Limits

__all__ = ["Access", "DatabaseFiles", "DatabaseRoot", "Limits"]
