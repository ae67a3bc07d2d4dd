"""Noticing what other Git processes do to refs: how much of it at a time, and at what cost."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from datakit_core.store import CommitId, InlineWriter, Store
from datakit_core.store.branch import Branches
from datakit_core.store.notice import RefNotices
from datakit_core.store.refs import RefFiles
from datakit_core.store.watch import Watches
from tests.support.git import git

NAMES = [*(f"flat-{n}" for n in range(50)), *(f"deep/er/{n}" for n in range(50))]


class CountingRefs(RefFiles):
    """Refs, and which of them were looked at."""

    def __init__(self, repository: Path) -> None:
        super().__init__(repository)
        self.looked: list[str] = []

    def head(self, branch: str) -> CommitId | None:
        self.looked.append(branch)
        return super().head(branch)


class Scene:
    """A repository of 100 branches, and what is noticed in it."""

    def __init__(self, store: Store, commit: CommitId) -> None:
        self.path = store.path
        self.heads = self.path / "refs" / "heads"
        for name in NAMES:
            git(self.path, "update-ref", f"refs/heads/{name}", commit)
        self.refs = CountingRefs(self.path)
        self.watches = Watches(store, asyncio.get_running_loop().call_soon)
        writer = InlineWriter(self.path)
        self.branches = Branches(self.refs, store._reader, self.watches, writer, writer)
        self.branches.compare(self.refs.heads())
        self.refs.looked.clear()


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    async with Store.open(tmp_path / "db.git", create=True, writer=InlineWriter) as store:
        transaction = store.transaction("first")
        transaction.tree.put("file", b"content")
        return Scene(store, await transaction.commit())


async def test_packed_refs_are_looked_at_only_where_a_file_has_gone(scene: Scene) -> None:
    """Each has a line that was not there before, which says what is known."""
    before = dict(scene.watches.heads)
    git(scene.path, "pack-refs", "--all")
    scene.branches.notice([scene.heads / name for name in NAMES[:10]])
    assert sorted(scene.refs.looked) == sorted(NAMES[:10])
    assert scene.watches.heads == before


async def test_a_packed_line_that_says_something_new_is_told(scene: Scene) -> None:
    packed = scene.path / "packed-refs"
    git(scene.path, "pack-refs", "--all")
    scene.branches.notice([])
    assert not scene.refs.looked
    lines = packed.read_text().splitlines(keepends=True)
    packed.write_text("".join(line for line in lines if "flat-7" not in line))
    scene.branches.notice([])
    assert scene.refs.looked == ["flat-7"]
    assert "flat-7" not in scene.watches.heads


async def test_a_directory_that_has_gone_takes_its_branches_along(scene: Scene) -> None:
    for name in NAMES[50:]:
        (scene.heads / name).unlink()
    (scene.heads / "deep" / "er").rmdir()
    scene.branches.notice([scene.heads / "deep" / "er"])
    assert not [name for name in scene.watches.heads if name.startswith("deep")]
    assert "flat-1" in scene.watches.heads


class SlowLoop:
    """A loop that does nothing by itself."""

    def __init__(self) -> None:
        self.calls = queue.SimpleQueue[Callable[[], None]]()

    def call_soon_threadsafe(self, callback: Callable[..., None], *arguments: object) -> None:
        self.calls.put(lambda: callback(*arguments))


def test_more_is_told_when_the_loop_has_looked_at_what_it_was_told(tmp_path: Path) -> None:
    seen: list[int] = []
    notices = RefNotices(tmp_path, lambda paths: seen.append(len(paths)), lambda _: None)
    loop = SlowLoop()
    notices._loop = loop  # type: ignore[assignment]  # all that is used of one
    paths = {tmp_path / str(number) for number in range(250)}
    thread = Thread(target=notices._tell_of, args=(paths,))
    thread.start()
    first = loop.calls.get(timeout=30)
    with pytest.raises(queue.Empty):
        loop.calls.get(timeout=0.1)
    first()
    for _ in range(2):
        loop.calls.get(timeout=30)()
    thread.join()
    assert seen == [100, 100, 50]


def test_a_thread_that_waits_for_the_loop_can_be_ended(tmp_path: Path) -> None:
    notices = RefNotices(tmp_path, lambda _: None, lambda _: None)
    loop = SlowLoop()
    notices._loop = loop  # type: ignore[assignment]  # all that is used of one
    thread = Thread(target=notices._tell_of, args=({tmp_path / str(n) for n in range(250)},))
    thread.start()
    loop.calls.get(timeout=30)
    notices._stop.set()
    thread.join()
    assert loop.calls.empty()
