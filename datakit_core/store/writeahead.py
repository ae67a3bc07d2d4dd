"""The journal at work: segments that grow, and checkpoints that make them superfluous.

A checkpoint begins a new segment, syncs the file system in a thread, and then removes the old
segments: what they hold is in Git's own files, on disk. Writing goes on meanwhile.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable

from datakit_core.store.activity import JournalLength
from datakit_core.store.disk import Disk
from datakit_core.store.journal import JOURNAL_HEADER, encode_record
from datakit_core.store.recovery import SEGMENT
from datakit_core.store.requests import Write

__all__ = ["WriteAhead"]

_logger = logging.getLogger(__name__)

_MAX_BYTES = 32 << 20
"""Bytes of a segment after which there is a checkpoint: recovery reads as much."""

_MAX_AGE = 5.0
"""Seconds after which a segment that holds something gets its checkpoint."""


class WriteAhead:
    """The journal of one repository; belongs to one thread."""

    def __init__(self, disk: Disk, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin a journal; there is none, since recovery has removed it.

        Args:
            disk: Where it is.
            clock: Seconds that never go back.
        """
        self._disk, self._clock = disk, clock
        self._number = 0
        self._size = self._records = 0
        self._since = 0.0
        self._old: list[str] = []
        self._old_lengths: list[JournalLength] = []
        self._failed = False
        self._checkpoint: threading.Thread | None = None
        self._log = disk.create_log(_name(self._number), JOURNAL_HEADER)

    @property
    def due(self) -> float | None:
        """Seconds until :meth:`tend` has something to do; none if it waits for a record."""
        if self._checkpoint is not None and not self._checkpoint.is_alive():
            return 0.0
        if self._failed or not (self._size or self._old):
            return None
        return max(0.0, self._since + _MAX_AGE - self._clock())

    @property
    def failed(self) -> bool:
        """Whether a sync has failed: what the kernel has dropped then, no later sync tells."""
        return self._failed

    @property
    def length(self) -> JournalLength:
        """What all segments hold, old ones included until their checkpoint is done."""
        old = tuple(self._old_lengths) if self._old else ()
        return JournalLength(
            self._size + sum(each.size for each in old),
            self._records + sum(each.records for each in old),
        )

    def record(self, write: Write) -> None:
        """Return when ``write`` is in the journal on disk.

        Raises:
            OSError: It is not there, or, if :attr:`failed` is set, may be there or not.
        """
        if not self._size:
            self._since = self._clock()
        record = encode_record(write)
        self._log.append(record)
        self._size += len(record)
        self._records += 1
        try:
            self._log.sync()
        except OSError:
            self._failed = True
            raise

    def tend(self) -> None:
        """Begin a checkpoint if one is due; waits for nothing but a new segment."""
        if self._checkpoint is not None and self._checkpoint.is_alive():
            return
        held = bool(self._size or self._old) and not self._failed
        if held and (self._size > _MAX_BYTES or self._clock() - self._since > _MAX_AGE):
            self._since = self._clock()  # of the next attempt, if this one fails
            self._turn()
            self._checkpoint = threading.Thread(target=self._sync, name="datakit-checkpoint")
            self._checkpoint.start()
        else:
            self._checkpoint = None

    def checkpoint(self) -> None:
        """Sync everything now, and empty the journal.

        Raises:
            OSError: The disk has failed; the journal stays.
        """
        if self._checkpoint is not None:
            self._checkpoint.join()
            self._checkpoint = None
        self._turn()
        self._sync_and_forget()

    def close(self) -> None:
        """Make the journal superfluous, and remove it; needs no room on the disk.

        Raises:
            OSError: The disk has failed; the journal stays, for recovery.
        """
        if self._checkpoint is not None:
            self._checkpoint.join()
            self._checkpoint = None
        self._log.close()
        self._old.append(_name(self._number))
        self._sync_and_forget()

    def _turn(self) -> None:
        """Begin a new segment; if there is no room for it, the old one goes on."""
        log = self._disk.create_log(_name(self._number + 1), JOURNAL_HEADER)
        self._log.close()
        self._log = log
        if not self._old:
            self._old_lengths.clear()
        self._old_lengths.append(JournalLength(self._size, self._records))
        self._old.append(_name(self._number))
        self._number += 1
        self._size = self._records = 0
        self._since = self._clock()

    def _sync(self) -> None:
        try:
            self._sync_and_forget()
        except OSError:
            _logger.exception("cannot sync the repository; its journal is kept")

    def _sync_and_forget(self) -> None:
        if self._failed:
            raise OSError(errno.EIO, "an earlier sync has failed")
        try:
            self._disk.sync_all()
        except OSError:
            self._failed = True  # the segments stay, for recovery
            raise
        while self._old:
            self._disk.remove(self._old[0])
            del self._old[0]


def _name(number: int) -> str:
    """The file of a segment."""
    return f"{SEGMENT}{number:08}"
