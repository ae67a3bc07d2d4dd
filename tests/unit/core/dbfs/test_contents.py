"""The cache of blobs: shared, bounded, and never without the blob that was just read."""

from __future__ import annotations

import pytest

from datakit_core.dbfs import contents as module
from datakit_core.dbfs.contents import Contents
from datakit_core.store import BlobId, ObjectId


def blob(number: int) -> BlobId:
    return BlobId(ObjectId(f"{number:040}"))


class Disk:
    """Blobs of ten bytes, and a note of each that was read or measured."""

    def __init__(self) -> None:
        self.read: list[BlobId] = []
        self.measured: list[BlobId] = []

    def blob(self, blob: BlobId) -> bytes:
        self.read.append(blob)
        return blob[-10:].encode()

    def size(self, blob: BlobId) -> int:
        self.measured.append(blob)
        return 10


def test_a_blob_is_read_once() -> None:
    disk = Disk()
    contents = Contents(disk, budget=100)
    assert contents.get(blob(1)) == contents.get(blob(1)) == b"0000000001"
    assert disk.read == [blob(1)]


def test_the_blob_that_was_used_longest_ago_is_dropped_first() -> None:
    disk = Disk()
    contents = Contents(disk, budget=20)
    for number in (1, 2, 1, 3, 1, 2):
        contents.get(blob(number))
    assert disk.read == [blob(1), blob(2), blob(3), blob(2)]
    assert contents.used == 20


def test_a_blob_above_the_budget_is_kept_alone() -> None:
    disk = Disk()
    contents = Contents(disk, budget=5)
    contents.get(blob(1))
    contents.get(blob(2))
    contents.get(blob(2))
    assert disk.read == [blob(1), blob(2)]
    assert contents.used == 10


def test_a_size_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_SIZES", 2)
    disk = Disk()
    contents = Contents(disk)
    for number in (1, 2, 1, 2, 3, 1):
        assert contents.size(blob(number)) == 10
    assert disk.measured == [blob(1), blob(2), blob(3), blob(1)]
