"""What is done when a repository is opened: the journal is carried out, if it is not empty.

Objects that it names and that are missing or torn are written again; refs that are where the
journal once moved them from are moved; then everything is synced, and the journal removed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from datakit_core.errors import DatakitError, RepositoryError
from datakit_core.store.disk import Disk, RepositoryFiles
from datakit_core.store.journal import (
    Segment,
    decode_segment,
    merge_records,
    settled_target,
)
from datakit_core.store.loose import encode_loose, is_whole, loose_id, loose_name
from datakit_core.store.objects import CommitId, NewObject
from datakit_core.store.refmoves import RefMoves
from datakit_core.store.repository import remove_stale_locks
from datakit_core.store.requests import RefUpdate

__all__ = ["IDENTITY", "SEGMENT", "recover", "recover_repository"]

_log = logging.getLogger(__name__)

IDENTITY = "datakit <datakit@mobyproject.org>"
SEGMENT = "datakit.journal-"
"""What the names of the journal's files begin with; a number follows, of the same length in all."""

_CLOCK_SLACK = 60.0
"""Seconds; file times come from a coarser clock, which may have been set meanwhile."""


def recover_repository(path: Path, unclean_since: float | None = None) -> None:
    """Repair the repository at ``path`` after a crash; may wait for some seconds.

    Args:
        path: The repository.
        unclean_since: When the last DataKit began, if it did not end in good order; in seconds
            since 1970.

    Raises:
        RepositoryError: The journal, or the disk, cannot be used; or another writer is at work.
    """
    try:
        disk = RepositoryFiles(path)
        try:
            disk.release_locks()
            remove_stale_locks(path)
            recover(disk)
            if unclean_since is not None:
                _remove_torn(disk, unclean_since - _CLOCK_SLACK)
        finally:
            disk.close()
    except OSError as error:
        raise RepositoryError(f"cannot recover {path}: {error}") from error


def recover(disk: Disk) -> None:
    """Carry out the journal on ``disk``, and remove it; nobody else may write meanwhile."""
    disk.release_locks()
    names = disk.names(SEGMENT)
    segments = [_segment(disk, name) for name in names]
    objects, moves = merge_records(record for part in segments for record in part.records)
    if objects or moves:
        written = sum(_restore(disk, new) for new in objects.values())
        moved = _settle(disk, moves)
        disk.sync_all()
        if written or moved:
            _log.warning(
                "the last writer did not end in good order; from its journal %d objects were "
                "written again, and %d branches moved", written, moved,
            )  # fmt: skip
    for name in names:
        disk.remove(name)


def _remove_torn(disk: Disk, since: float) -> None:
    """Remove objects that were being written at a power cut, and that nobody was told of.

    They do no harm by themselves, but Git would take them for the objects whose names they have,
    and not write those any more.
    """
    for name in disk.loose_objects(since):
        if not is_whole(disk.read(name) or b"", loose_id(name)):
            _log.warning("removed %s, which is torn", name)
            disk.remove(name)


def _segment(disk: Disk, name: str) -> Segment:
    segment = decode_segment(disk.read(name) or b"")
    if segment.torn:
        _log.warning("%s ends in a record that is not whole; nobody was told of it", name)
    return segment


def _restore(disk: Disk, new: NewObject) -> bool:
    name = loose_name(new.id)
    content = disk.read(name)
    if content is not None and is_whole(content, new.id):
        return False
    disk.replace(name, encode_loose(new))
    return True


def _settle(disk: Disk, moves: Mapping[str, Sequence[RefUpdate]]) -> int:
    refs = RefMoves(disk, IDENTITY)
    # Deletions first: one branch may be where the directory of another was.
    names = sorted(moves, key=lambda name: moves[name][-1].new is not None)
    return sum(_settle_one(refs, name, moves[name]) for name in names)


def _settle_one(refs: RefMoves, name: str, moves: Sequence[RefUpdate]) -> bool:
    try:
        refs.lock_patiently(name)
        found = refs.read(name)
        target: CommitId | None = settled_target(moves, found)
        if found == target:
            return False
        refs.move(name, target)
    except (DatakitError, OSError) as error:
        # Another program has made something else of it: that is newer than the journal.
        _log.warning("%s was not recovered: %s", name, error)
        return False
    finally:
        refs.unlock()
    return True
