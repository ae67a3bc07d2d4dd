"""Git, knowing nothing of 9P: the only package that imports pygit2.

:class:`Store` is one repository with branches, transactions and watches;
:func:`open_reader` is for processes that only read. The values (ids, trees, changes) cost little
to import; whatever needs libgit2 or asyncio is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from datakit_core import lazy
from datakit_core.store.diff import Change, ChangeKind, TreeReader, diff
from datakit_core.store.merge import Merge, Reason, conflict_file, merge
from datakit_core.store.objects import (
    EMPTY_TREE,
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    NewObject,
    ObjectId,
    ObjectKind,
    Signature,
    Tree,
    TreeId,
    new_object,
    parse_id,
)

if TYPE_CHECKING:
    from datakit_core.store.applier import Durability
    from datakit_core.store.largeblobs import LARGE_READ, BlobSpool, LargeBlobs
    from datakit_core.store.policy import ANYTHING, FOR_OTHERS, FetchPolicy
    from datakit_core.store.reader import Reader, open_reader
    from datakit_core.store.store import Store
    from datakit_core.store.subscribers import Subscription
    from datakit_core.store.transaction import Transaction
    from datakit_core.store.tree import Overlay
    from datakit_core.store.writer import InlineWriter, Writer
else:
    __getattr__ = lazy.attributes(
        __name__,
        {
            "ANYTHING": "policy",
            "BlobSpool": "largeblobs",
            "Durability": "applier",
            "FOR_OTHERS": "policy",
            "FetchPolicy": "policy",
            "InlineWriter": "writer",
            "LARGE_READ": "largeblobs",
            "LargeBlobs": "largeblobs",
            "Overlay": "tree",
            "Reader": "reader",
            "Store": "store",
            "Subscription": "subscribers",
            "Transaction": "transaction",
            "Writer": "writer",
            "open_reader": "reader",
        },
    )

__all__ = [
    "ANYTHING",
    "EMPTY_TREE",
    "FOR_OTHERS",
    "LARGE_READ",
    "BlobId",
    "BlobSpool",
    "Change",
    "ChangeKind",
    "Commit",
    "CommitId",
    "Durability",
    "Entry",
    "FetchPolicy",
    "FileMode",
    "InlineWriter",
    "LargeBlobs",
    "Merge",
    "NewObject",
    "ObjectId",
    "ObjectKind",
    "Overlay",
    "Reader",
    "Reason",
    "Signature",
    "Store",
    "Subscription",
    "Transaction",
    "Tree",
    "TreeId",
    "TreeReader",
    "Writer",
    "conflict_file",
    "diff",
    "merge",
    "new_object",
    "open_reader",
    "parse_id",
]
