"""Attacks through what Git gives a meaning to: names, ids, messages, URLs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.git import git
from tests.support.raw import Raw, RawError
from tests.support.scenarios import begin, commit, commit_files, head_of, put
from tests.support.served import Served

DISGUISED = [".git", ".GIT", ".git ", ".git.", "git~1", "GIT~1", ".g\u200cit", ".git:x", "a\\b"]
ORDINARY = [".gitmodules", ".lock", "ctl", "tree.live", "x.node", "HEAD", "-x", " ", "\xff"]
NOT_BRANCHES = [
    *("../../config", "HEAD", "a..b", "a.lock", "@{1}", "@", "-x", "refs/heads/x", " ", "a b"),
    *("\x07", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", "a//b", ".a", "a/.b", "a."),
    *("a.lock/b", "x" * 251, "/".join(["x" * 200] * 6)),
]


@pytest.mark.parametrize("name", DISGUISED)
async def test_a_name_that_some_system_takes_for_gits_is_refused(raw: Raw, name: str) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "file", b"")
    for attack in (
        raw.create([*place, "rw", name]),
        raw.mkdir([*place, "rw", name]),
        raw.wstat([*place, "rw", "file"], name=name),
        raw.command([*place, "ctl"], f"graft D-4b825dc642cb6eb9a060e54bf8d69288fbee4904 {name}"),
    ):
        with pytest.raises(RawError):
            await attack
    assert await raw.list([*place, "rw"]) == ["file"]


async def test_names_of_our_own_files_are_ordinary_in_a_tree(raw: Raw, served: Served) -> None:
    place = await begin(raw, "master")
    for name in ORDINARY:
        await raw.create([*place, "rw", name], data=name.encode())
    await raw.write([*place, "ctl"], b"commit")
    for name in ORDINARY:
        assert await raw.read(["branch", "master", "ro", name]) == name.encode()
    assert len(git(served.store.path, "ls-tree", "master").splitlines()) == len(ORDINARY)


@pytest.mark.parametrize("name", NOT_BRANCHES)
async def test_what_is_no_branch_name_makes_and_moves_nothing(
    raw: Raw, served: Served, name: str
) -> None:
    head = await commit_files(raw, "master", {"file": b""})
    with pytest.raises(RawError):
        await raw.mkdir(["branch", name])
    with pytest.raises(RawError):
        await raw.wstat("branch/master", name=name)
    with pytest.raises(RawError):
        await raw.walk(["branch", name])
    refs = git(served.store.path, "for-each-ref", "--format=%(objectname) %(refname)")
    assert refs == f"{head} refs/heads/master"


async def test_a_branch_below_another_is_an_error(raw: Raw) -> None:
    await commit_files(raw, "x", {"file": b""})
    place = await begin(raw, "y")
    await put(raw, place, "file", b"")
    with pytest.raises(RawError):
        await raw.wstat("branch/x", name="x/y")
    with pytest.raises(RawError):
        await commit_files(raw, "x/y", {"file": b""})
    assert await head_of(raw, "x")


@pytest.mark.parametrize("file", ["fast-forward", "merge", "parents"])
async def test_only_the_whole_id_of_a_commit_is_one(raw: Raw, served: Served, file: str) -> None:
    head = await commit_files(raw, "master", {"file": b"content"})
    tree = git(served.store.path, "rev-parse", "master^{tree}")
    blob = git(served.store.path, "rev-parse", "master:file")
    git(served.store.path, "tag", "-a", "-m", "a tag", "v1", "master")
    git_tag = git(served.store.path, "rev-parse", "v1")
    ids = [tree, blob, git_tag, head[:8], head.upper(), head + "0" * 24, "HEAD", "master", "-x"]
    for wrong in [each for each in ids if each != head]:
        place = await begin(raw, "other")
        with pytest.raises(RawError):
            await _use(raw, place, file, wrong.encode())
        await raw.write([*place, "ctl"], b"close")
    assert await head_of(raw, "other") == ""
    await raw.write("branch/other/fast-forward", f" {head} \n".encode())
    assert await head_of(raw, "other") == head


async def _use(raw: Raw, place: list[str], file: str, commit: bytes) -> None:
    """Name a commit in one of the files that take one."""
    if file == "fast-forward":
        await raw.write("branch/other/fast-forward", commit)
        return
    await raw.write([*place, file], commit)
    await raw.write([*place, "ctl"], b"commit")


async def test_a_message_cannot_add_headers_nor_hold_nul(raw: Raw, served: Served) -> None:
    place = await begin(raw, "master")
    await put(raw, place, "file", b"")
    message = f"innocent\nparent {'1' * 40}\nauthor Mallory <m@example.org> 0 +0000\n\nbody"
    await raw.write([*place, "msg"], b"with\0nul")
    with pytest.raises(RawError):
        await raw.write([*place, "ctl"], b"commit")
    await raw.write([*place, "msg"], message.encode())
    await raw.write([*place, "ctl"], b"commit")
    shown = git(served.store.path, "log", "-1", "--format=%P|%an|%B", "master")
    assert shown == f"|datakit|{message}"
    git(served.store.path, "fsck", "--full")


@pytest.mark.parametrize(
    "url",
    [
        *("ext::sh -c touch% x", "fd::17", "file:relative", "relative", "../up", "-u./x", "--help"),
        *("ssh://-oProxyCommand=x/y", "ssh://u@-o/y", "ssh://h/-x", "host:path", "javascript:x"),
        *("https://h/\nx", "transport::address", "ftp://h/x", "FILE:///x", "unix:///x"),
    ],
)
async def test_a_url_that_could_do_anything_but_fetch_is_refused(raw: Raw, url: str) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", url.encode())
    with pytest.raises(RawError, match=r"^error: cannot fetch"):
        await raw.write("remotes/origin/fetch", b"master")


@pytest.mark.parametrize("branch", ["--upload-pack=x", "refs/../x", "a b", "+x:y", "refs/heads/*"])
async def test_a_branch_to_fetch_is_a_name(raw: Raw, served: Served, branch: str) -> None:
    await raw.mkdir("remotes/origin")
    await raw.write("remotes/origin/url", f"file://{served.store.path}".encode())
    with pytest.raises(RawError):
        await raw.write("remotes/origin/fetch", branch.encode())


@pytest.mark.parametrize(
    "files",
    [{"few": 1}, {f"many{number}": 1 << 17 for number in range(10)}, {"long": 1 << 21}],
    ids=["few", "many", "long"],
)
@pytest.mark.parametrize("merging", [False, True])
async def test_pruning_takes_nothing_from_an_open_transaction(
    raw: Raw, served: Served, merging: bool, files: Mapping[str, int]
) -> None:
    theirs = await commit_files(raw, "theirs", {"theirs": b"1"})
    await commit_files(raw, "master", {"old": b"2"})
    place = await begin(raw, "master")
    await put(raw, place, "dir/new", b"3")
    for number, (name, size) in enumerate(files.items()):
        await put(raw, place, name, bytes([number]))
        await raw.wstat([*place, "rw", name], length=size)
    if merging:
        await raw.write([*place, "merge"], theirs.encode())
    git(served.store.path, "-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")
    await put(raw, place, "last", b"4")
    await commit(raw, place)
    git(served.store.path, "fsck", "--full", "--strict")
    names = {"dir", "last", "old", *files, *(["theirs"] if merging else [])}
    assert set(await raw.list("branch/master/ro")) == names
    assert git(served.store.path, "for-each-ref", "refs/datakit") == ""
    assert await raw.read("branch/master/ro/dir/new") == b"3"
