"""Local runs: what was asked for, what is tested, and where results are kept.

That is the repository's own ``.datakit``, so that the next run starts warm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from datakit_ci.checkout import Checkout
from datakit_ci.project import Config, load_pipeline
from datakit_ci.snapshot import Snapshot, take_snapshot
from datakit_ci.target import Target
from datakit_core.client.readonly import ReadOnlyDatabase, open_read_only
from datakit_core.errors import ConfigError, RepositoryError

__all__ = ["DATABASE", "LocalRun", "Wanted", "prepare"]

DATABASE = "database.git"
"""The repository in the directory of a checkout's state."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        pipeline: The pipeline's file.
        target: ``heads/NAME`` or ``tags/NAME``; empty: what is checked out.
        is_committed: Test the commit that is checked out instead of the working tree.
        verbose: Show what stages print while they run.
        is_dry: Only say what would run, and why.
        as_json: Say that as JSON.
        warm: Another database whose results are used: a URL, or the path of a repository.
        executor: Where builds run: ``local``, or ``dask:`` and the address of a scheduler.
        executor_tls: The files for a scheduler at ``tls://``.
        listen_9p: Where workers elsewhere find the run's database, as listener URLs.
    """

    pipeline: Path
    target: str = ""
    is_committed: bool = False
    verbose: bool = False
    is_dry: bool = False
    as_json: bool = False
    warm: str = ""
    executor: str = "local"
    executor_tls: str = ""
    listen_9p: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A run that is about to begin.

    Attributes:
        wanted: What was asked for.
        config: The pipeline.
        state: The directory for the database and what belongs to it.
        snapshot: What is tested.
    """

    wanted: Wanted
    config: Config
    state: Path
    snapshot: Snapshot

    @property
    def targets(self) -> Sequence[Target]:
        """What is tested, of each project."""
        return [Target.parse(each.id, self.snapshot.short) for each in self.config.projects]


@contextmanager
def prepare(wanted: Wanted) -> Iterator[tuple[LocalRun, ReadOnlyDatabase]]:
    """Take a snapshot, and open what is recorded for reading.

    Raises:
        ConfigError: There is nothing to run, or the pipeline is broken.
    """
    checkout = Checkout.around(Path.cwd())
    if wanted.target or wanted.is_committed:
        source = checkout.committed(wanted.target)
    else:
        source = checkout.working_tree()
    config = load_pipeline(wanted.pipeline)
    with ExitStack() as stack:
        state = _state(checkout, stack)
        snapshot = stack.enter_context(take_snapshot(checkout, source, state))
        database = _readable(state, snapshot, stack)
        yield LocalRun(wanted, config, state, snapshot), database


def _state(checkout: Checkout, stack: ExitStack) -> Path:
    """Where the run keeps its things: in the checkout, or for a while elsewhere."""
    try:
        return checkout.make_state()
    except ConfigError as error:
        sys.stdout.write(f"note: {error}; using a temporary database\n")
        return Path(stack.enter_context(TemporaryDirectory(prefix="datakit-")))


def _readable(state: Path, snapshot: Snapshot, stack: ExitStack) -> ReadOnlyDatabase:
    """The database as it is, whoever has it, with the snapshot."""
    database = state / DATABASE
    if database.is_dir():
        with suppress(RepositoryError):  # who opens it for writing says why
            return stack.enter_context(open_read_only(database, snapshot.repository))
    return stack.enter_context(open_read_only(snapshot.repository))
