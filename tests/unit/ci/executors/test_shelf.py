"""The shelf of kept checkouts: who gets which, how many there are, and what a crash leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datakit_ci.executors.shelf import MANIFEST, TREE, Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path / "shelf", most=2)
    made.recover()
    return made


def build(tmp_path: Path, name: str, content: str = "") -> Path:
    directory = tmp_path / name
    directory.mkdir()
    if content:
        (directory / TREE).mkdir()
        (directory / TREE / "file").write_text(content)
        (directory / MANIFEST).write_text("{}")
    return directory


def content_of(directory: Path) -> str:
    file = directory / TREE / "file"
    return file.read_text() if file.exists() else ""


def test_the_newest_of_a_kind_is_given_once(shelf: Shelf, tmp_path: Path) -> None:
    shelf.give_back("kind", build(tmp_path, "one", "old"))
    shelf.give_back("kind", build(tmp_path, "two", "new"))
    first, second, third = (build(tmp_path, name) for name in ("a", "b", "c"))
    for directory in (first, second, third):
        shelf.take("kind", directory)
    assert [content_of(each) for each in (first, second, third)] == ["new", "old", ""]


def test_another_kind_is_not_given(shelf: Shelf, tmp_path: Path) -> None:
    shelf.give_back("kind", build(tmp_path, "one", "text"))
    other = build(tmp_path, "other")
    shelf.take("other", other)
    assert content_of(other) == ""


def test_the_oldest_make_way(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shelf.give_back(name, build(tmp_path, name, name))
    first = build(tmp_path, "first")
    shelf.take("a", first)
    assert content_of(first) == ""
    assert len(list((tmp_path / "shelf").iterdir())) == 2


def test_a_restart_keeps_what_is_whole(shelf: Shelf, tmp_path: Path) -> None:
    shelf.give_back("a", build(tmp_path, "one", "text"))
    (tmp_path / "shelf/0000000007-torn/tree").mkdir(parents=True)
    again = Shelf(tmp_path / "shelf", most=2)
    again.recover()
    again.give_back("b", build(tmp_path, "two", "more"))
    names = sorted(path.name for path in (tmp_path / "shelf").iterdir())
    assert names == ["0000000001-a", "0000000002-b"]


def test_what_a_build_has_not_finished_is_not_kept(shelf: Shelf, tmp_path: Path) -> None:
    directory = build(tmp_path, "one", "text")
    (directory / MANIFEST).unlink()
    shelf.give_back("kind", directory)
    assert list((tmp_path / "shelf").iterdir()) == []


def test_what_was_on_the_way_when_the_service_was_killed_is_thrown_away(tmp_path: Path) -> None:
    directory = tmp_path / "shelf"
    shelf = Shelf(directory)
    shelf.recover()
    build(directory, "moving-0000000001-kind", "half")
    shelf.recover()
    assert list(directory.iterdir()) == []


def test_many_threads_never_get_the_same_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", most=4)
    shelf.recover()

    def use(name: str) -> None:
        for turn in range(20):
            mine = build(tmp_path, f"{name}-{turn}")
            shelf.take("kind", mine)
            (mine / TREE).mkdir(exist_ok=True)
            assert not (mine / TREE / "in-use").exists()
            (mine / TREE / "in-use").touch()
            (mine / MANIFEST).write_text("{}")
            (mine / TREE / "in-use").unlink()
            shelf.give_back("kind", mine)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, "abcdefgh"))
    assert len(list((tmp_path / "shelf").iterdir())) == 4
