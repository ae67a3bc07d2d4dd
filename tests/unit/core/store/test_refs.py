"""Branches as Git's files have them, whatever is in these files."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.store.refs import RefFiles, branch_of, ref_of

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "refs" / "heads").mkdir(parents=True)
    return tmp_path


def loose(repository: Path, branch: str, content: str) -> Path:
    path = repository / "refs" / "heads" / branch
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def pack(repository: Path, *lines: str) -> None:
    """Replace packed-refs as Git does: by renaming a new file."""
    new = repository / "packed-refs.new"
    new.write_text("".join(f"{line}\n" for line in ("# pack-refs with: peeled sorted", *lines)))
    new.rename(repository / "packed-refs")


def test_a_branch_and_its_ref() -> None:
    assert ref_of("a/b") == "refs/heads/a/b"
    assert branch_of("refs/heads/a/b") == "a/b"
    assert branch_of("refs/datakit/x") == "refs/datakit/x"


def test_loose_and_packed_refs_are_one(repository: Path) -> None:
    loose(repository, "a/b", f"{ONE}\n")
    pack(repository, f"{TWO} refs/heads/a/b", f"{THREE} refs/heads/c", f"{ONE} refs/tags/d")
    refs = RefFiles(repository)
    assert refs.heads() == {"a/b": ONE, "c": THREE}
    assert refs.head("a/b") == ONE
    assert refs.head("c") == THREE
    assert refs.head("a") is None
    assert refs.head("none") is None


def test_a_peeled_line_belongs_to_no_branch(repository: Path) -> None:
    pack(repository, f"{ONE} refs/heads/a", f"^{TWO}", f"{THREE} refs/heads/b")
    assert RefFiles(repository).heads() == {"a": ONE, "b": THREE}


def test_what_is_no_id_hides_only_itself(repository: Path) -> None:
    loose(repository, "good", ONE)
    loose(repository, "alias", "ref: refs/heads/good\n")
    loose(repository, "empty", "")
    loose(repository, "damaged", "not an id")
    loose(repository, "short", "1234\n")
    loose(repository, "good.lock", f"{TWO}\n")
    (repository / "refs" / "heads" / "dangling").symlink_to("/nowhere")
    (repository / "refs" / "heads" / "folder").mkdir()
    refs = RefFiles(repository)
    assert refs.heads() == {"good": ONE}
    assert refs.head("alias") is None
    assert refs.head("folder") is None


def test_a_replaced_packed_refs_is_read_again(repository: Path) -> None:
    refs = RefFiles(repository)
    assert refs.heads() == {}
    pack(repository, f"{ONE} refs/heads/a", f"{ONE} refs/heads/b")
    assert refs.head("a") == ONE
    pack(repository, f"{ONE} refs/heads/a", f"{TWO} refs/heads/c")
    assert refs.repacked() == {"b": None, "c": TWO}
    assert refs.repacked() == {}
    (repository / "packed-refs").unlink()
    assert refs.repacked() == {"a": None, "c": None}
    assert refs.heads() == {}


def test_a_path_names_the_branches_that_it_may_concern(repository: Path) -> None:
    path = loose(repository, "a/b", ONE)
    loose(repository, "a/c/d", ONE)
    refs = RefFiles(repository)
    assert list(refs.below(path)) == ["a/b"]
    assert sorted(refs.below(path.parent)) == ["a/b", "a/c/d"]
    assert list(refs.below(path.with_name("gone"))) == ["a/gone"]
    assert list(refs.below(path.with_name("b.lock"))) == []
    assert list(refs.below(repository / "refs" / "tags" / "x")) == []
    assert list(refs.below(repository / "refs" / "heads" / "none")) == ["none"]
