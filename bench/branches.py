"""A repository of 10,000 branches, listed over 9P and by git for-each-ref.

Over 9P: the names, as ``ls`` wants them; the names with a stat for each, as ``ls -l`` does, 32 of
them at a time. The refs are files of their own ("loose") at first, then in one file ("packed").
"""

from __future__ import annotations

import asyncio
import statistics
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import Script, client, replay, servers
from bench.load.session import HELLO, ROOT, Session, codec
from datakit_core.ninep.linux_messages import Rreaddir, Tgetattr, Tlopen, Treaddir
from datakit_core.ninep.messages import Record, Tattach, Tclunk, Twalk
from datakit_core.ninep.wire import NO_FID, Fid, Tag
from datakit_core.store import Store

__all__ = ["main"]

BRANCHES = 10_000
ROUNDS = 5
SECONDS = 0.5
DEPTH = 32
PAGE = 1 << 16
STATS = 0x7FF
_ENTRY = struct.Struct("<13sQBH")
"""An entry of Rreaddir, without its name: qid, cookie, type, length of the name."""


def main() -> None:
    """Print the table."""
    with TemporaryDirectory(prefix="datakit-bench-") as scratch:
        place = Path(scratch)
        repository = place / "db.git"
        command = client(place)
        asyncio.run(_create(repository))
        print(f"milliseconds to list {BRANCHES:,} branches; medians of {ROUNDS} rounds")
        print(f"{'':8}{'names':>10}{'with stat':>12}{'git for-each-ref':>20}")
        for kind in ("loose", "packed"):
            if kind == "packed":
                subprocess.run(["git", "-C", repository, "pack-refs", "--all"], check=True)
            with servers.datakit(repository) as server:
                print(_line(kind, command, server.port, repository))


def _line(kind: str, command: Sequence[str], port: int, repository: Path) -> str:
    names, stats = _names_script(port), _stats_script()
    rows = [
        (_once(command, port, names), _once(command, port, stats), _git(repository))
        for _ in range(ROUNDS)
    ]
    columns = zip(*rows, strict=True)
    listed, described, theirs = (statistics.median(column) * 1e3 for column in columns)
    return f"{kind:8}{listed:10.1f}{listed + described:12.1f}{theirs:20.1f}"


def _once(command: Sequence[str], port: int, script: Script) -> float:
    """Seconds to go once through all slots, each of which is as long as the others."""
    seen = replay(command, port, script, SECONDS)
    return seen.seconds / seen.answered * sum(len(slot) for slot in script.slots)


def _preamble() -> list[bytes]:
    return [HELLO, codec.encode(Tag(0), Tattach(ROOT, NO_FID, "", "", 0))]


def _names_script(port: int) -> Script:
    """Open the directory, read it to its end, close it; where pages end is found out before."""
    directory = Fid(1)
    requests: list[Record] = [Twalk(ROOT, directory, ("branch",)), Tlopen(directory, 0)]
    seen = 0
    with Session(port) as session:
        session.attach()
        session.ask(*requests)
        while True:
            page = Treaddir(directory, seen, PAGE)
            requests.append(page)
            (reply,) = session.ask(page)
            assert isinstance(reply, Rreaddir)
            if not reply.data:
                break
            seen = _last_cookie(reply.data)
    assert seen == BRANCHES, seen
    requests.append(Tclunk(directory))
    return Script(_preamble(), [[codec.encode(Tag(0), request) for request in requests]])


def _last_cookie(page: bytes) -> int:
    at = cookie = 0
    while at < len(page):
        _, cookie, _, length = _ENTRY.unpack_from(page, at)
        at += _ENTRY.size + length
    return cookie


def _stats_script() -> Script:
    """Walk to each branch, ask for its attributes, and let go of it."""
    slots: list[list[bytes]] = [[] for _ in range(DEPTH)]
    for number in range(BRANCHES):
        slot = number % DEPTH
        fid = Fid(1 + slot)
        for request in (
            Twalk(ROOT, fid, ("branch", _name(number))),
            Tgetattr(fid, STATS),
            Tclunk(fid),
        ):
            slots[slot].append(codec.encode(Tag(slot), request))
    return Script(_preamble(), slots)


def _name(number: int) -> str:
    return f"branch-{number:05}"


async def _create(repository: Path) -> None:
    """One commit, and loose refs to it."""
    async with Store.open(repository, create=True) as store:
        transaction = store.transaction(_name(0))
        transaction.tree.put("file", b"content")
        commit = await transaction.commit()
    for number in range(BRANCHES):
        (repository / "refs/heads" / _name(number)).write_text(f"{commit}\n")


def _git(repository: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        ["git", "-C", repository, "for-each-ref", "refs/heads"], capture_output=True, check=True
    )
    elapsed = time.perf_counter() - start
    assert done.stdout.count(b"\n") == BRANCHES
    return elapsed


if __name__ == "__main__":
    main()
