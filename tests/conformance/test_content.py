"""File content: scenarios 35 to 40 of the conformance list."""

from __future__ import annotations

import errno

import pytest

from datakit_core.ninep.messages import Mode, OpenMode, Tread
from tests.support.raw import Raw, RawError, classic, linking
from tests.support.scenarios import begin, commit, put


@pytest.fixture
async def rw(raw: Raw) -> list[str]:
    """The path of a transaction's tree."""
    return [*await begin(raw, "master"), "rw"]


async def test_35_truncating_cuts_and_extends(raw: Raw, rw: list[str]) -> None:
    file = [*rw, "file"]
    await raw.create(file, data=b"12345")
    for length, content in ((4, b"1234"), (4, b"1234"), (6, b"1234\0\0"), (0, b"")):
        await raw.wstat(file, length=length)
        assert await raw.read(file) == content
        assert (await raw.stat(file)).length == length


async def test_35_an_open_may_truncate(raw: Raw, rw: list[str]) -> None:
    file = [*rw, "file"]
    await raw.create(file, data=b"12345")
    fid = await raw.open(file, OpenMode.WRITE | OpenMode.TRUNCATE)
    await raw.change(fid, length=0, mtime=1)
    await raw.write_at(fid, 0, b"12")
    assert await raw.read(file) == b"12"


async def test_36_writing_overwrites_fills_gaps_and_appends(raw: Raw, rw: list[str]) -> None:
    file = [*rw, "file"]
    await raw.create(file, data=b"hello")
    fid = await raw.open(file, OpenMode.READ_WRITE)
    for offset, data, content in (
        (1, b"EL", b"hELlo"),
        (5, b"!", b"hELlo!"),
        (8, b"?", b"hELlo!\0\0?"),
        (0, b"", b"hELlo!\0\0?"),
    ):
        assert await raw.write_at(fid, offset, data) == len(data)
        assert await raw.read_at(fid, 0) == content
    assert await raw.read_at(fid, 9) == b""
    assert await raw.read_at(fid, 0, 0) == b""
    with raw.refused("Offset 10 beyond end-of-file (len = 9)", errno.EINVAL):
        await raw.read_at(fid, 10)
    with raw.refused("Negative offset -1", errno.EINVAL):
        await raw.read_at(fid, (1 << 64) - 1)
    with raw.refused("Bad write offset -1", errno.EINVAL):
        await raw.write_at(fid, (1 << 64) - 1, b"x")


async def test_37_a_file_is_no_directory_and_a_directory_no_file(raw: Raw, rw: list[str]) -> None:
    await raw.mkdir([*rw, "foo"])
    await raw.mkdir([*rw, "foo", "bar"])
    await raw.create([*rw, "foo", "bar", "baz"])
    with raw.refused('"baz" is not a directory', errno.ENOTDIR):
        await raw.create([*rw, "foo", "bar", "baz", "below"])
    with raw.refused("Is a directory", errno.EISDIR):
        await raw.create([*rw, "foo", "bar"])
    await raw.remove([*rw, "foo", "bar", "baz"])
    assert await raw.list(rw) == ["foo"]
    assert await raw.list([*rw, "foo"]) == ["bar"]


async def test_38_a_large_file_is_written_in_pieces_and_read_back(raw: Raw, rw: list[str]) -> None:
    await raw.create([*rw, "zeros"])
    fid = await raw.open([*rw, "zeros"], OpenMode.WRITE)
    for offset in range(0, 1 << 20, 8192):
        await raw.write_at(fid, offset, bytes(8192))
    pattern = bytes(index % 251 for index in range(131_222))
    await raw.create([*rw, "pattern"])
    fid = await raw.open([*rw, "pattern"], OpenMode.WRITE)
    for offset in range(0, len(pattern), 60_000):
        await raw.write_at(fid, offset, pattern[offset : offset + 60_000])
    await commit(raw, rw[:-1])
    assert await raw.read("branch/master/ro/zeros", 65_000) == bytes(1 << 20)
    assert await raw.read("branch/master/ro/pattern", 1 << 20) == pattern


async def test_39_files_are_renamed_in_their_directory(raw: Raw, rw: list[str]) -> None:
    await put(raw, rw[:-1], "dir/old", b"content")
    await put(raw, rw[:-1], "full/file", b"")
    await raw.mkdir([*rw, "empty"])
    await raw.wstat([*rw, "dir", "old"], name="new")
    assert await raw.list([*rw, "dir"]) == ["new"]
    with raw.refused("Is a directory", errno.EISDIR):
        await raw.wstat([*rw, "dir"], name="full")
    await raw.wstat([*rw, "dir"], name="empty")
    assert await raw.list(rw) == ["empty", "full"]
    parent, fid = await raw.walk([*rw, "empty"]), await raw.walk([*rw, "empty", "new"])
    await raw.remove([*rw, "empty", "new"])
    with raw.refused("No such file or directory", errno.ENOENT):
        await raw.rename(fid, parent, "again")


@linking
async def test_40_executables_and_links(raw: Raw) -> None:
    place = await begin(raw, "master")
    rw = [*place, "rw"]
    await raw.create([*rw, "run"], 0o755, b"#!/bin/sh\n")
    await raw.create([*rw, "link"], Mode.LINK | 0o777, extension="run")
    await raw.create([*rw, "file"], data=b"content")
    await raw.wstat([*rw, "run"], mode=0o644)
    await raw.wstat([*rw, "file"], mode=0o755)
    await commit(raw, place)
    stats = {
        stat.name: (stat.mode & ~0o002, stat.extension)  # 9P2000.L has links with all rights
        for stat in await raw.stats("branch/master/ro")
    }
    assert stats == {
        "run": (0o664, ""),
        "link": (Mode.LINK.value | 0o775, "run"),
        "file": (0o775, ""),
    }
    assert {stat.qid.type for stat in await raw.stats("branch/master/ro")} == {0}
    assert await raw.read("branch/master/ro/link") == b"run"


@classic
async def test_40_an_impossible_wstat_is_refused(raw: Raw, rw: list[str]) -> None:
    await raw.create([*rw, "file"])
    for changes, text in (
        ({"length": 1, "mode": 0o755}, "Can't rename/truncate/chmod at the same time"),
        ({"mode": 0o755 | Mode.DIRECTORY}, "Incorrect is_directory flag for chmod"),
    ):
        with pytest.raises(RawError) as caught:
            await raw.wstat([*rw, "file"], **changes)
        assert caught.value.text == text
    await raw.wstat([*rw, "file"])
    with raw.refused("Operation not permitted", errno.EPERM):
        await raw.wstat(rw, mode=0o755)
    with raw.refused("Can't rename /", errno.EPERM):
        await raw.wstat("", name="root")


async def test_a_directory_is_listed_in_whole_entries(raw: Raw, rw: list[str]) -> None:
    names = [f"file{number:03}" for number in range(200)]
    for name in names:
        await raw.create([*rw, name])
    fid = await raw.open(rw)
    tag, _ = raw.start(Tread(fid, 1, 100))
    await raw.flush(tag)
    assert await raw.list(rw) == names
    short = await raw.open(rw)
    with pytest.raises(RawError):
        await raw.read_at(short, 0, 10)
