"""The texts of errors, each of which some client compares: part A2 of the contract.

One row is one text: what the server says, the errno that goes with it in 9P2000.u, and a request
that is answered so. Placeholders of the contract (``N``, ``L``, ``X``) are filled in.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from datakit_core.ninep.dialect import LINUX, UNIX
from datakit_core.ninep.messages import (
    KEEP,
    Mode,
    OpenMode,
    Rattach,
    Rauth,
    Rwalk,
    Rwstat,
    Tattach,
    Tauth,
    Twalk,
    Twstat,
)
from datakit_core.ninep.wire import NO_FID, Fid
from tests.support.raw import Raw, RawError, classic, connect
from tests.support.scenarios import Stream, begin, commit, commit_files, put
from tests.support.served import Served

Scene: TypeAlias = Callable[[Raw, list[str]], Awaitable[object]]
"""Makes one request that fails; the path is a transaction's, with ``rw/file`` and ``rw/dir``."""

REFUSED: dict[str, tuple[int, Scene]] = {}


def refused(text: str, number: int) -> Callable[[Scene], Scene]:
    """The request of the scene is answered with ``text`` and ``number``."""

    def keep(scene: Scene) -> Scene:
        assert text not in REFUSED
        REFUSED[text] = (number, scene)
        return scene

    return keep


@refused("No such file or directory", errno.ENOENT)
async def absent(raw: Raw, place: list[str]) -> None:
    await raw.walk([*place, "rw", "none"])


@refused("Can't walk from a file", errno.ENOTDIR)
async def walk_below_a_file(raw: Raw, place: list[str]) -> None:
    await raw.walk([*place, "rw", "file", "below"])


@refused("Already exists", errno.EEXIST)
async def mkdir_twice(raw: Raw, place: list[str]) -> None:
    await raw.mkdir([*place, "rw", "dir"])


@refused("Is a directory", errno.EISDIR)
async def create_over_a_directory(raw: Raw, place: list[str]) -> None:
    await raw.create([*place, "rw", "dir"])


@refused("Is not a directory", errno.ENOTDIR)
async def write_below_what_became_a_file(raw: Raw, place: list[str]) -> None:
    below = await raw.walk([*place, "rw", "dir"])
    await raw.remove([*place, "rw", "dir"])
    await raw.create([*place, "rw", "dir"])
    await raw.create_in(below, "new")


@refused("Read-only file", errno.EROFS)
async def write_to_origin(raw: Raw, place: list[str]) -> None:
    await raw.write_at(await raw.open([*place, "origin"], OpenMode.WRITE), 0, b"x")


@refused("Operation not permitted", errno.EPERM)
async def remove_a_command_file(raw: Raw, place: list[str]) -> None:
    await raw.remove([*place, "ctl"])


@refused("Directory is read-only", errno.EROFS)
async def create_in_the_root(raw: Raw, place: list[str]) -> None:
    await raw.mkdir("new")


@refused("Can only contain directories", errno.EPERM)
async def create_a_file_among_branches(raw: Raw, place: list[str]) -> None:
    await raw.create("branch/file")


@refused("Attempt to seek in stream", errno.EINVAL)
async def seek_in_a_stream(raw: Raw, place: list[str]) -> None:
    await raw.read_at(await raw.open("branch/master/head.live"), 3)


@refused("Can't extend command file", errno.EINVAL)
async def extend_a_command_file(raw: Raw, place: list[str]) -> None:
    await raw.wstat([*place, "ctl"], length=1)


@refused("Can't chmod special file", errno.EPERM)
async def chmod_a_command_file(raw: Raw, place: list[str]) -> None:
    await raw.wstat([*place, "ctl"], mode=0o755)


@refused("Negative offset -1", errno.EINVAL)
async def read_before_the_beginning(raw: Raw, place: list[str]) -> None:
    await raw.read_at(await raw.open([*place, "rw", "file"]), (1 << 64) - 1)


@refused("Offset 100 beyond end-of-file (len = 0)", errno.EINVAL)
async def read_beyond_the_end(raw: Raw, place: list[str]) -> None:
    await raw.read_at(await raw.open([*place, "origin"]), 100)


@refused("Bad write offset -2", errno.EINVAL)
async def write_before_the_beginning(raw: Raw, place: list[str]) -> None:
    fid = await raw.open([*place, "rw", "file"], OpenMode.WRITE)
    await raw.write_at(fid, (1 << 64) - 2, b"x")


@refused('Unknown command "nonsense"', errno.EINVAL)
async def command_nonsense(raw: Raw, place: list[str]) -> None:
    await raw.command([*place, "ctl"], "  nonsense\n")


@refused("Merge conflict: file", errno.EBUSY)
async def commit_what_others_changed(raw: Raw, place: list[str]) -> None:
    await commit_files(raw, "master", {"file": b"theirs"})
    await commit(raw, place)


@refused("conflicts file is not empty", errno.EINVAL)
async def commit_a_conflict(raw: Raw, place: list[str]) -> None:
    theirs = await commit_files(raw, "master", {"file": b"theirs"})
    await raw.write([*place, "merge"], theirs.encode())
    await raw.write([*place, "ctl"], b"commit")


@refused("not-fast-forward", errno.EBUSY)
async def go_back(raw: Raw, place: list[str]) -> None:
    first = await commit_files(raw, "other", {"a": b"1"})
    await commit_files(raw, "other", {"a": b"2"})
    await raw.write("branch/other/fast-forward", first.encode())


@refused('invalid-hash "master": expected 40 hexadecimal digits', errno.EINVAL)
async def fast_forward_to_a_name(raw: Raw, place: list[str]) -> None:
    await raw.write("branch/master/fast-forward", b"master")


@refused("Unknown fid 4711", errno.EINVAL)
async def use_an_unknown_fid(raw: Raw, place: list[str]) -> None:
    await raw.clunk(Fid(4711))


@refused("Fid 0 already in use", errno.EINVAL)
async def bind_a_fid_twice(raw: Raw, place: list[str]) -> None:
    await raw.call(Twalk(Fid(0), Fid(4), ()), Rwalk)
    await raw.call(Twalk(Fid(4), Fid(0), ()), Rwalk)


@refused("'.' is not valid in 9p", errno.EINVAL)
async def walk_to_here(raw: Raw, place: list[str]) -> None:
    await raw.walk("branch/.")


@refused("Can't seek in a directory", errno.EINVAL)
async def seek_in_a_directory(raw: Raw, place: list[str]) -> None:
    await raw.read_at(await raw.open("branch"), 5)


@refused("Can't read from unopened fid", errno.EINVAL)
async def read_unopened(raw: Raw, place: list[str]) -> None:
    await raw.read_at(await raw.walk([*place, "rw", "file"]), 0)


@refused("Can't write to unopened fid", errno.EINVAL)
async def write_unopened(raw: Raw, place: list[str]) -> None:
    await raw.write_at(await raw.walk([*place, "rw", "file"]), 0, b"x")


@refused("Can't write to directories", errno.EISDIR)
async def write_to_a_directory(raw: Raw, place: list[str]) -> None:
    await raw.write_at(await raw.open([*place, "rw"]), 0, b"x")


@refused("Already open", errno.EINVAL)
async def open_twice(raw: Raw, place: list[str]) -> None:
    fid = await raw.open([*place, "rw", "file"])
    await raw.open_fid(fid)


@refused("Can't create in an opened fid", errno.EINVAL)
async def create_in_an_open_directory(raw: Raw, place: list[str]) -> None:
    fid = await raw.open([*place, "rw"])
    await raw.create_in(fid, "new")


@refused('"file" is not a directory', errno.ENOTDIR)
async def create_below_a_file(raw: Raw, place: list[str]) -> None:
    await raw.create([*place, "rw", "file", "below"])


@refused("Can't rename /", errno.EPERM)
async def rename_the_root(raw: Raw, place: list[str]) -> None:
    await raw.wstat("", name="root")


@refused("Can't rename/truncate/chmod at the same time", errno.EINVAL)
async def change_two_things(raw: Raw, place: list[str]) -> None:
    await raw.wstat([*place, "rw", "file"], name="new", length=0)


@refused("Can't set length of a directory", errno.EISDIR)
async def truncate_a_directory(raw: Raw, place: list[str]) -> None:
    await raw.wstat([*place, "rw", "dir"], length=1)


@refused("Incorrect is_directory flag for chmod", errno.EINVAL)
async def chmod_a_file_to_a_directory(raw: Raw, place: list[str]) -> None:
    await raw.wstat([*place, "rw", "file"], mode=0o755 | Mode.DIRECTORY)


@refused("Missing target for symlink!", errno.EINVAL)
async def link_to_nothing(raw: Raw, place: list[str]) -> None:
    await raw.create([*place, "rw", "link"], Mode.LINK | 0o777)


@refused("error: remote url is not defined", errno.EINVAL)
async def fetch_from_nowhere(raw: Raw, place: list[str]) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/fetch", b"master")


@refused("error: no head to fetch", errno.EINVAL)
async def fetch_nothing(raw: Raw, place: list[str]) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", b"https://localhost/x")
    await raw.write("remotes/origin/fetch", b"")


@refused("Function not implemented", errno.EOPNOTSUPP)
async def authenticate(raw: Raw, place: list[str]) -> None:
    await raw.call(Tauth(Fid(9), "anyone", ""), Rauth)


@pytest.mark.parametrize("text", REFUSED)
async def test_an_error_has_the_text_that_clients_compare(served: Served, text: str) -> None:
    async with connect(served.port, UNIX) as raw:
        await look(raw, text)


OWN_WAYS = {
    "Can't rename /": "a kernel asks for no such thing",
    "Can't rename/truncate/chmod at the same time": "renaming is a request of its own",
    "Can't seek in a directory": "any offset of Treaddir is one",
    "Can't write to directories": "has EISDIR too, but of Twrite on what only Treaddir reads",
    "Function not implemented": "says that no authentication is needed, by ENOENT",
    "Missing target for symlink!": "is ENOENT, as of symlink(2)",
}
"""What 9P2000.L does not refuse, or refuses with another number; the unit tests have it."""


@pytest.mark.parametrize("text", sorted(REFUSED.keys() - OWN_WAYS))
async def test_9p2000l_refuses_the_same_with_the_number(served: Served, text: str) -> None:
    async with connect(served.port, LINUX) as raw:
        await look(raw, text)


async def look(raw: Raw, text: str) -> None:
    """Do what is refused so."""
    number, scene = REFUSED[text]
    place = await begin(raw, "master")
    await put(raw, place, "file", b"content")
    await raw.mkdir([*place, "rw", "dir"])
    with raw.refused(text, number):
        await scene(raw, place)
    assert await raw.read([*place, "rw", "file"]) != b""  # and nothing else was disturbed


@classic
async def test_a_fetch_that_fails_names_the_url(raw: Raw) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", b"ext::sh -c id")
    with pytest.raises(RawError) as caught:
        await raw.write("remotes/origin/fetch", b"master")
    assert caught.value.text.startswith("error: cannot fetch ext::sh -c id")


async def test_what_comes_before_an_attach_is_told_so(served: Served) -> None:
    async with connect(served.port, UNIX, begin=False) as raw:
        with pytest.raises(RawError, match=r"^Expected Version message$"):
            await raw.call(Tattach(Fid(0), NO_FID, "", ""), Rattach)
    async with connect(served.port, UNIX, begin=False) as raw:
        await raw.agree()
        with pytest.raises(RawError, match=r"^Expected Attach message$"):
            await raw.walk("branch")


async def test_a_stream_is_read_from_where_it_is(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/head.live")
    await stream.line()
    with raw.refused("Attempt to seek in stream", errno.EINVAL):
        await raw.read_at(stream.fid, 0)


@classic
async def test_an_impossible_change_does_not_change_a_part(raw: Raw) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "file", b"content")
    fid = await raw.walk([*place, "rw", "file"])
    with pytest.raises(RawError):
        await raw.call(Twstat(fid, replace(KEEP, name="new", length=0)), Rwstat)
    assert await raw.read([*place, "rw", "file"]) == b"content"
    assert await raw.list([*place, "rw"]) == ["file"]
