"""The 9P server against diod, a file server in C, with the same files and the same client.

``diod`` serves a directory, ``datakit serve`` the same files as they were committed; a client in C
asks both, in turns, over TCP on loopback: for 100 bytes of an open file; for walk, stat, open,
read and clunk of a file, which is what ``cat`` costs; for files of 64 KiB and 1 MiB, in the
longest messages that the server agrees to. With one request outstanding, the time is mostly that
of waking up processes; with 32, it is the server's.

The third peer is an echo, an asyncio protocol that answers with as many bytes without looking at
the request: no server in Python is faster, whatever it serves.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import Script, client, replay, servers
from bench.load.session import HELLO, MSIZE, Session, codec
from datakit_core.ninep import LINUX
from datakit_core.ninep.linux_messages import Tgetattr, Tlopen
from datakit_core.ninep.messages import Record, Tattach, Tclunk, Tread, Tversion, Twalk
from datakit_core.ninep.wire import NO_FID, Fid, Tag
from datakit_core.store import Store

__all__ = ["main"]

SECONDS = 0.7
"""How long each figure is measured."""
ROUNDS = 7
SIZES = {"small": 100, "medium": 1 << 16, "large": 1 << 20}
FIDS = {name: Fid(number) for number, name in enumerate(SIZES, start=1)}
PLACE = ("branch", "main", "ro")
"""Where the database shows the files; diod's are in directories of these names."""
READ_OVERHEAD = 24
"""What clients leave free in a message of data."""
DEPTH = 32
STATS = 0x7FF
"""P9_GETATTR_BASIC: all that stat(2) tells."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is running.

    Attributes:
        name: For the table.
        port: Where it listens.
        tree: What it calls its root (attach(5)).
        msize: The longest message it agrees to.
    """

    name: str
    port: int
    tree: str
    msize: int

    @property
    def preamble(self) -> list[bytes]:
        """Begin the session, and open a file of each size."""
        requests: list[Record] = [Tattach(Fid(0), NO_FID, "", self.tree, 0)]
        for name, fid in FIDS.items():
            requests += [Twalk(Fid(0), fid, (*PLACE, name)), Tlopen(fid, 0)]
        return [HELLO, *(codec.encode(Tag(0), request) for request in requests)]

    def reads(self, name: str) -> list[Record]:
        """What reads a file whole."""
        most = min(self.msize - READ_OVERHEAD, 1 << 20)
        size = SIZES[name]
        return [Tread(FIDS[name], at, min(most, size - at)) for at in range(0, size, most)]

    def chain(self, slot: int) -> list[Record]:
        """What ``cat`` asks, on a fid of the slot's own."""
        fid = Fid(len(SIZES) + 1 + slot)
        found: list[Record] = [Twalk(Fid(0), fid, (*PLACE, "small")), Tgetattr(fid, STATS)]
        return [*found, Tlopen(fid, 0), Tread(fid, 0, SIZES["small"]), Tclunk(fid)]


@dataclass(frozen=True, slots=True)
class Load:
    """One line of the table.

    Attributes:
        name: What is asked for.
        file: What is read; nothing for the chain.
        slots: Requests outstanding.
        unit: Of the figures.
    """

    name: str
    file: str
    slots: int
    unit: str = "requests/s"

    def script(self, peer: Peer) -> Script:
        """The messages for a server."""
        slots = []
        for slot in range(self.slots):
            requests = peer.reads(self.file) if self.file else peer.chain(slot)
            slots.append([codec.encode(Tag(slot), request) for request in requests])
        return Script(peer.preamble, slots)

    def measure(self, command: Sequence[str], peer: Peer) -> float:
        """The rate, in the load's unit."""
        seen = replay(command, peer.port, self.script(peer), SECONDS)
        return (seen.received / 1e6 if self.unit == "MB/s" else seen.answered) / seen.seconds


LOADS = (
    Load("100 bytes, 1 at a time", "small", 1),
    Load(f"100 bytes, {DEPTH} outstanding", "small", DEPTH),
    Load("walk stat open read clunk, 1", "", 1),
    Load(f"walk stat open read clunk, {DEPTH}", "", DEPTH),
    Load("64 KiB reads, 1 at a time", "medium", 1, "MB/s"),
    Load("64 KiB reads, 4 outstanding", "medium", 4, "MB/s"),
    Load("1 MiB reads, 1 at a time", "large", 1, "MB/s"),
)


def main() -> None:
    """Print a table: each server's best and median rate, and the ratios of the medians."""
    with TemporaryDirectory(prefix="datakit-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        command = client(place)
        files = {name: bytes(size) for name, size in SIZES.items()}
        asyncio.run(_commit(place / "db.git", files))
        exported = _lay_out(place / "files", files)
        running = {
            "datakit": stack.enter_context(servers.datakit(place / "db.git")),
            "diod": stack.enter_context(servers.diod(place / "files")),
            "echo": stack.enter_context(servers.echo(_reply_sizes())),
        }
        peers = [
            Peer(
                name,
                server.port,
                str(exported) if name == "diod" else "",
                _msize(name, server.port),
            )
            for name, server in running.items()
        ]
        print(f"medians of {ROUNDS} rounds (in brackets the best)")
        print(f"{'':32}{'datakit':>18}{'diod':>18}{'echo':>18}{'to diod':>9}{'to echo':>9}")
        for load in LOADS:
            print(_line(load, command, peers))


def _line(load: Load, command: Sequence[str], peers: Sequence[Peer]) -> str:
    """Measure a load on all servers in turns."""
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer in peers:
            rates[peer.name].append(load.measure(command, peer))
    median = {name: statistics.median(each) for name, each in rates.items()}
    figures = "".join(f"{median[name]:9,.0f} {f'({max(rates[name]):,.0f})':>8}" for name in rates)
    ratios = "".join(f"{median['datakit'] / median[name]:8.2f}x" for name in ("diod", "echo"))
    return f"{load.name:32}{figures}{ratios}  {load.unit}"


async def _commit(repository: Path, files: dict[str, bytes]) -> None:
    async with Store.open(repository, create=True) as store:
        transaction = store.transaction("main")
        for name, content in files.items():
            transaction.tree.put(name, content)
        await transaction.commit()


def _lay_out(root: Path, files: dict[str, bytes]) -> Path:
    """The same files below the same names."""
    directory = root.joinpath(*PLACE)
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return root


def _msize(name: str, port: int) -> int:
    """The longest message that a server agrees to; the echo agrees to everything."""
    if name == "echo":
        return MSIZE
    with Session(port) as session:
        return session.msize


def _reply_sizes() -> dict[int, int]:
    """How long the echo's replies are, by the type of the request; see its Tread."""
    qid = 13
    return {
        Tversion.number: 4 + 2 + len(LINUX.version),
        Tattach.number: qid,
        Twalk.number: 2 + qid * (len(PLACE) + 1),
        Tgetattr.number: 153,
        Tlopen.number: qid + 4,
        Tread.number: 4,
        Tclunk.number: 0,
    }


if __name__ == "__main__":
    main()
