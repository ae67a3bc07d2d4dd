"""What 10,000 blocked readers of streams cost, and how soon a commit reaches them.

Over 9P, on TCP: 10,000 files are open on one connection, and each has a read that waits. Another
connection commits. Time runs from its request to commit: to the acknowledgement, and to the replies
to the readers whom it concerns, which is one while the others watch something else, or all of them.
Memory is the growth of the server's resident set.
"""

from __future__ import annotations

import asyncio
import resource
import select
import statistics
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import servers
from bench.load.session import ROOT, Session
from datakit_core.ninep.linux_messages import Tgetattr, Tlopen, Tmkdir
from datakit_core.ninep.messages import Record, Rread, Tclunk, Tread, Twalk, Twrite
from datakit_core.ninep.wire import Fid
from datakit_core.store import Store

__all__ = ["main"]

READERS = 10_000
ROUNDS = 9
_COUNT = 256


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from the request to commit.

    Attributes:
        acknowledged: To its own reply.
        first: To the first reply of a reader.
        last: To the last one.
    """

    acknowledged: float
    first: float
    last: float


class Readers:
    """Streams that are open on a session of their own."""

    def __init__(self, session: Session, paths: Sequence[tuple[str, ...]]) -> None:
        """Open what is at ``paths``, and read the first line of each."""
        self._session = session
        self._fids = [Fid(number) for number in range(1, len(paths) + 1)]
        requests: list[Record] = []
        for fid, path in zip(self._fids, paths, strict=True):
            requests += [Twalk(ROOT, fid, path), Tlopen(fid, 0)]
        session.ask(*requests)
        self._line = max(len(line) for line in self._read(0))
        self._offset = self._line

    def block(self) -> None:
        """Take the empty reads that end a line, and let a read of each stream wait."""
        assert not any(self._read(self._offset))
        reads: list[Record] = [Tread(fid, self._offset, _COUNT) for fid in self._fids]
        self._session.send([*reads, Tgetattr(ROOT, 0)])
        assert self._session.arrived() == 1  # the last request is answered, so the others wait
        self._offset += self._line

    def _read(self, offset: int) -> list[bytes]:
        replies = self._session.ask(*(Tread(fid, offset, _COUNT) for fid in self._fids))
        return [reply.data for reply in replies if isinstance(reply, Rread)]


def main() -> None:
    """Print the table."""
    heading = f"{'acknowledged':>15}{'first reply':>15}{'last reply':>15}{'memory each':>15}"
    print(f"{f'medians of {ROUNDS}':36}{heading}")
    with TemporaryDirectory(prefix="datakit-bench-") as scratch:
        repository = Path(scratch) / "db.git"
        asyncio.run(_create(repository))
        crowd = [_watch(f"other{number}") for number in range(READERS)]
        _measure(repository, "one watcher of the changed file", [], [_watch("file")])
        _measure(repository, f"  and {READERS:,} of other paths", crowd, [_watch("file")])
        heads = [("branch", "main", "head.live")] * READERS
        _measure(repository, f"{READERS:,} readers of head.live", [], heads)


def _watch(name: str) -> tuple[str, ...]:
    return ("branch", "main", "watch", f"{name}.node", "tree.live")


def _measure(
    repository: Path,
    name: str,
    crowd: Sequence[tuple[str, ...]],
    concerned: Sequence[tuple[str, ...]],
) -> None:
    """Commit to ``file`` while readers wait, some of whom it concerns."""
    with (
        servers.datakit(repository) as server,
        Session(server.port) as idle,
        Session(server.port) as waiting,
        Session(server.port) as writing,
    ):
        for session in (idle, waiting, writing):
            session.attach()
        before = _resident(server.pid)
        if crowd:
            Readers(idle, crowd).block()
        readers = Readers(waiting, concerned)
        readers.block()
        each = (_resident(server.pid) - before) / (len(crowd) + len(concerned))
        delays = []
        for number in range(ROUNDS):
            delays.append(_commit(writing, waiting, number, len(concerned)))
            readers.block()
    times = "".join(
        f"{statistics.median(column) * 1e3:12.2f} ms"
        for column in zip(*(astuple(delay) for delay in delays), strict=True)
    )
    memory = f"{each / 1024:11.2f} KiB" if len(crowd) + len(concerned) > 1 else ""
    print(f"{name:36}{times}{memory}")


def _commit(writing: Session, waiting: Session, number: int, replies: int) -> Delay:
    """Commit a change, and see when it is acknowledged and when it is told."""
    directory = ("branch", "main", "transactions", f"t{number}")
    made, file, control = Fid(1), Fid(2), Fid(3)
    content = b"content %d" % number
    writing.ask(
        Twalk(ROOT, made, directory[:-1]),
        Tmkdir(made, directory[-1], 0o755, 0),
        Twalk(ROOT, file, (*directory, "rw", "file")),
        Tlopen(file, 0o1001),
        Twrite(file, 0, content),
        Twalk(ROOT, control, (*directory, "ctl")),
        Tlopen(control, 1),
        *(Tclunk(fid) for fid in (made, file)),
    )
    start = time.perf_counter()
    writing.send([Twrite(control, 0, b"commit")])
    acknowledged, first, last, left = 0.0, 0.0, 0.0, replies
    while left or not acknowledged:
        ready, _, _ = select.select([writing.connection, waiting.connection], [], [])
        now = time.perf_counter()
        if writing.connection in ready and writing.arrived():
            acknowledged = now
        if waiting.connection in ready:
            left -= waiting.arrived()
            first = first or now
            last = time.perf_counter()
    writing.ask(Tclunk(control))
    return Delay(acknowledged - start, first - start, last - start)


def _resident(pid: int) -> int:
    """Bytes of a process that are in memory (proc_pid_statm(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def _create(repository: Path) -> None:
    async with Store.open(repository, create=True) as store:
        transaction = store.transaction("main")
        transaction.tree.put("file", b"content")
        await transaction.commit()


if __name__ == "__main__":
    main()
