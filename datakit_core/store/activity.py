"""What a store counts of its work, in plain integers; who shows them gives them names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from datakit_core.metrics import Histogram

__all__ = ["Activity", "Batches", "Batching", "JournalLength"]


@dataclass(slots=True)
class Activity:
    """What became of commits.

    Attributes:
        moved: Commits that simply moved their branch.
        merged: Commits that were merged with what others had committed meanwhile.
        conflicts: Commits that were refused because both sides had changed a path.
        overtaken: Conditional commits that were refused because the branch had moved.
    """

    moved: int = 0
    merged: int = 0
    conflicts: int = 0
    overtaken: int = 0


@dataclass(frozen=True, slots=True)
class JournalLength:
    """How much a start after a crash would carry out again.

    Attributes:
        size: In bytes.
        records: One for each batch.
    """

    size: int = 0
    records: int = 0


@dataclass(slots=True)
class Batches:
    """What a writer did together, because it had come while the writer was busy.

    Attributes:
        requests: How many requests the batches had.
        synced: How long each batch took to be on disk.
        journal: The length of the writer's journal.
    """

    requests: int = 0
    synced: Histogram = field(default_factory=Histogram)
    journal: JournalLength = field(default_factory=JournalLength)

    def add(self, requests: int, nanoseconds: int) -> None:
        """A batch of ``requests`` is on disk after ``nanoseconds``."""
        self.requests += requests
        self.synced.add(nanoseconds)


@runtime_checkable
class Batching(Protocol):
    """A writer that tells of its batches."""

    batches: Batches
