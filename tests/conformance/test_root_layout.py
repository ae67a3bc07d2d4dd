"""Root layout, qids and errors: scenarios 1 to 6 of the conformance list."""

from __future__ import annotations

import errno
import logging

from datakit_core.ninep.wire import Fid
from tests.support.raw import Raw
from tests.support.scenarios import begin, put

ROOT = ["branch", "trees", "commits", "snapshots", "remotes", "debug"]


async def test_1_the_root_lists_six_directories(raw: Raw) -> None:
    assert await raw.list() == ROOT
    await raw.mkdir("branch/master")
    assert await raw.list("branch/master/../..") == ROOT
    assert await raw.list("../branch/..") == ROOT


async def test_2_a_walk_tells_directories_from_files(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    assert [qid.type for qid in await raw.qids("branch/master/head")] == [0x80, 0x80, 0]


async def test_3_reading_beyond_the_end_is_an_error(raw: Raw) -> None:
    place = await begin(raw, "master")
    origin = await raw.open([*place, "origin"])
    with raw.refused("Offset 100 beyond end-of-file (len = 0)", errno.EINVAL):
        await raw.read_at(origin, 100)


async def test_4_a_file_has_one_qid(raw: Raw) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "src/Makefile", b"all: build")
    stats = [await raw.stat([*place, "rw", "src", "Makefile"]) for _ in range(2)]
    (listed,) = await raw.stats([*place, "rw", "src"])
    assert stats[0].qid == stats[1].qid == listed.qid


async def test_5_a_log_level_is_a_file(raw: Raw) -> None:
    logging.getLogger("datakit_core.conformance")  # nobody else's
    level = "debug/src/datakit_core.conformance/level"
    await raw.write(level, b"quiet")
    for word in (b"quiet", b"debug\n", b"info", b"quiet"):
        await raw.write(level, word)
        assert await raw.read_at(await raw.open(level), 0, 100) == word.strip() + b"\n"


async def test_6_absent_and_impossible_paths_have_the_texts_that_clients_know(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    unknown = 'invalid-hash "master": expected 40 hexadecimal digits'
    for path, text, number in (
        ("branch/none", "No such file or directory", errno.ENOENT),
        ("branch/master/none", "No such file or directory", errno.ENOENT),
        ("snapshots/" + "1" * 40, "No such file or directory", errno.ENOENT),
        ("branch/master/head/below", "Can't walk from a file", errno.ENOTDIR),
        ("branch/.", "'.' is not valid in 9p", errno.EINVAL),
        ("snapshots/master", unknown, errno.EINVAL),
    ):
        with raw.refused(text, number):
            await raw.walk(path)


async def test_6_a_fid_is_clunked_once_and_the_root_fid_too(raw: Raw) -> None:
    fid = await raw.open("branch")
    await raw.clunk(fid)
    for number in (fid, Fid(4711)):
        with raw.refused(f"Unknown fid {number}", errno.EINVAL):
            await raw.clunk(number)
    await raw.clunk(Fid(0))
    with raw.refused("Unknown fid 0", errno.EINVAL):
        await raw.walk("branch")
