"""The database as a tree of nodes: what the 9P server serves, without 9P.

:class:`DatabaseFiles` is one database; each connection gets a :class:`View` of it, and
:func:`root_directory` is where its walks begin.
"""

from datakit_core.dbfs.root import DatabaseFiles, root_directory
from datakit_core.dbfs.view import Limits, View

__all__ = ["DatabaseFiles", "Limits", "View", "root_directory"]
