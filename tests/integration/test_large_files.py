"""Files too large for memory: written, committed, read back and edited in pieces."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.ninep.dialect import UNIX
from datakit_core.ninep.messages import OpenMode
from tests.support.databases import BACK_ENDS
from tests.support.git import git
from tests.support.raw import Raw, connect
from tests.support.scenarios import begin, commit
from tests.support.served import Served, serve
from tests.support.waiting import until

PIECE = random.Random(1).randbytes(50_000)
SIZE = 3_000_000


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path / "db.git") as served:
        yield served


@pytest.fixture
async def raw(served: Served) -> AsyncIterator[Raw]:
    async with connect(served.port, UNIX) as raw:
        yield raw


async def write_large(raw: Raw, place: list[str], name: str = "large") -> bytes:
    """Write :data:`SIZE` bytes in pieces; all of them."""
    await raw.create([*place, "rw", name])
    fid = await raw.open([*place, "rw", name], OpenMode.WRITE)
    for offset in range(0, SIZE, len(PIECE)):
        await raw.write_at(fid, offset, PIECE)
    await raw.clunk(fid)
    return PIECE * (SIZE // len(PIECE))


async def test_a_large_file_is_spooled_committed_and_read_back_everywhere(
    raw: Raw, served: Served
) -> None:
    place = await begin(raw, "main")
    content = await write_large(raw, place)
    space = served.store.large.space
    assert (space.files, space.used) == (1, SIZE)
    assert await raw.read([*place, "rw", "large"]) == content
    await commit(raw, place)
    head = (await raw.read("branch/main/head")).decode().strip()
    assert space.files == 0
    for path in ("branch/main/ro/large", f"snapshots/{head}/ro/large"):
        assert await raw.read(path) == content
    blob = git(served.store.path, "rev-parse", "main:large")
    digest = hashlib.sha1(b"blob %d\0" % SIZE + content, usedforsecurity=False)
    assert blob == digest.hexdigest()
    for path in (f"trees/F-{blob}", f".datakit/blob/{blob}"):
        assert await raw.read(path) == content
    assert space.files == 0
    git(served.store.path, "fsck", "--strict")


async def test_a_stored_large_file_is_copied_once_when_it_is_edited(
    raw: Raw, served: Served
) -> None:
    content = await write_large(raw, place := await begin(raw, "main"))
    await commit(raw, place)
    place = await begin(raw, "main")
    fid = await raw.open([*place, "rw", "large"], OpenMode.READ_WRITE)
    await raw.write_at(fid, 10, b"changed")
    await raw.write_at(fid, SIZE, b"appended")
    changed = content[:10] + b"changed" + content[17:] + b"appended"
    assert await raw.read([*place, "rw", "large"]) == changed
    assert served.store.large.space.files == 1
    await raw.clunk(fid)
    await commit(raw, place)
    assert await raw.read("branch/main/ro/large") == changed


async def test_a_large_packed_file_is_read_as_well(raw: Raw, served: Served) -> None:
    content = await write_large(raw, place := await begin(raw, "main"))
    await commit(raw, place)
    git(served.store.path, "repack", "-adq")
    assert await raw.read("branch/main/ro/large") == content


async def test_holes_are_zero_bytes_and_cutting_gives_room(raw: Raw, served: Served) -> None:
    place = await begin(raw, "main")
    file = [*place, "rw", "sparse"]
    await raw.create(file)
    await raw.wstat(file, length=1 << 30)
    fid = await raw.open(file, OpenMode.READ_WRITE)
    assert await raw.read_at(fid, 1 << 29, 10) == bytes(10)
    await raw.write_at(fid, 400_000, b"x")
    assert served.store.large.space.used == 1 << 30
    await raw.wstat(file, length=500_000)
    assert served.store.large.space.used == 500_000
    await raw.clunk(fid)
    await commit(raw, place)
    assert await raw.read("branch/main/ro/sparse") == bytes(400_000) + b"x" + bytes(99_999)


@pytest.mark.parametrize("how", ["close", "remove", "truncate", "replace", "disconnect"])
async def test_a_spool_goes_with_what_it_is_for(raw: Raw, served: Served, how: str) -> None:
    async with connect(served.port, UNIX) as other:
        place = await begin(other, "main")
        await write_large(other, place)
        assert served.store.large.space.files == 1
        match how:
            case "close":
                await other.write([*place, "ctl"], b"close")
            case "remove":
                await other.remove([*place, "rw", "large"])
            case "truncate":
                await other.wstat([*place, "rw", "large"], length=0)
            case "replace":
                await other.create([*place, "rw", "large"], data=b"small")
            case _:
                pass
    await until(lambda: served.store.large.space.files == 0)
    assert served.store.large.space.used == 0


async def test_a_diff_and_a_stored_tree_see_a_large_file(raw: Raw, served: Served) -> None:
    place = await begin(raw, "main")
    await raw.create([*place, "rw", "small"])
    await commit(raw, place)
    head = (await raw.read("branch/main/head")).decode().strip()
    place = await begin(raw, "main")
    content = await write_large(raw, place)
    assert await raw.read([*place, "diff", head]) == b"+ large\n"
    tree = (await raw.command([*place, "ctl"], "tree")).decode().strip()
    assert await raw.read(["trees", tree, "large"]) == content


async def test_what_a_killed_server_has_left_goes_at_the_next_start(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served:
        directory = served.store.path / "datakit.spool"
    directory.mkdir()
    (directory / "17").write_bytes(b"left")
    async with serve(tmp_path / "db.git"):
        assert not directory.exists()


@pytest.mark.parametrize("back_end", BACK_ENDS)
async def test_the_client_library_reads_and_writes_them(back_end: str, tmp_path: Path) -> None:
    content = PIECE * 40
    async with BACK_ENDS[back_end](tmp_path / "db.git") as database:
        async with database.transaction("main") as transaction:
            await transaction.write("large", content)
            assert await transaction.read("large") == content
            head = await transaction.commit("large")
        tree = (await database.commit(head)).tree
        assert await database.read(tree, "large") == content
