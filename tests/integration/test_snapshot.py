"""Snapshots of working trees: what is in them, and that the user's repository stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from datakit_ci.checkout import Checkout
from datakit_ci.snapshot import Snapshot, take_snapshot
from datakit_core.client.local import open_local
from datakit_core.errors import ConfigError
from tests.support.git import git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a commit; its index has something that is not committed."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    for name in ("kept", "changed", "deleted", "staged", "ignored but tracked"):
        (root / name).write_text(f"{name}\n")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "link").symlink_to("kept")
    git(root, "add", "--all")
    git(root, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "First")
    return root


def edit(root: Path) -> None:
    (root / ".gitignore").write_text("*.o\nignored*\n")
    (root / "changed").write_text("changed again\n")
    (root / "deleted").unlink()
    (root / "staged").write_text("staged now\n")
    git(root, "add", "staged")
    (root / "program").chmod(0o755)
    (root / "link").unlink()
    (root / "link").symlink_to("nowhere")
    (root / "new").mkdir()
    (root / "new/file").write_text("new\n")
    (root / "new/out.o").write_text("not me\n")


def shape(directory: Path) -> Mapping[str, str]:
    """Every file below ``directory`` with its content."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def listed(snapshot: Snapshot) -> list[str]:
    return git(snapshot.repository, "ls-tree", "-r", snapshot.commit).splitlines()


def test_it_has_what_is_there_now_and_leaves_the_repository_alone(
    root: Path, tmp_path: Path
) -> None:
    edit(root)
    before = shape(root)
    checkout = Checkout.around(root)
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as snapshot:
        modes = {line.split("\t")[1]: line.split()[0] for line in listed(snapshot)}
        assert git(snapshot.repository, "show", f"{snapshot.commit}:changed") == "changed again"
        assert git(snapshot.repository, "show", f"{snapshot.commit}:link") == "nowhere"
        assert git(snapshot.repository, "rev-parse", f"{snapshot.commit}^") == snapshot.base
    assert modes == {
        ".gitignore": "100644",
        "changed": "100644",
        "ignored but tracked": "100644",
        "kept": "100644",
        "link": "120000",
        "new/file": "100644",
        "program": "100755",
        "staged": "100644",
    }
    assert snapshot.is_changed
    assert snapshot.short == "heads/main"
    assert shape(root) == before


def test_the_same_files_are_the_same_commit_and_without_changes_it_is_the_head(
    root: Path, tmp_path: Path
) -> None:
    checkout = Checkout.around(root)
    (root / "kept").touch()
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as clean:
        assert not clean.is_changed
        assert clean.commit == clean.base == git(root, "rev-parse", "HEAD")
    edit(root)
    commits = []
    for home in ("one", "two"):
        with take_snapshot(checkout, checkout.working_tree(), tmp_path / home) as snapshot:
            commits.append(snapshot.commit)
    assert commits[0] == commits[1] != clean.commit


async def test_a_database_can_fetch_it(root: Path, tmp_path: Path) -> None:
    edit(root)
    checkout = Checkout.around(root)
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as snapshot:
        async with open_local(tmp_path / "db.git", create=True) as database:
            with snapshot.fetchable() as (url, ref):
                assert await database.fetch(url, ref) == snapshot.commit
            tree = (await database.commit(snapshot.commit)).tree
            assert await database.read(tree, "staged") == b"staged now\n"


async def test_a_shallow_checkout_will_do(root: Path, tmp_path: Path) -> None:
    git(root, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q",
        "--allow-empty", "-m", "Second")  # fmt: skip
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", root.as_uri(), str(shallow))
    checkout = Checkout.around(shallow)
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as snapshot:
        async with open_local(tmp_path / "db.git", create=True) as database:
            with snapshot.fetchable() as (url, ref):
                assert await database.fetch(url, ref) == snapshot.commit


def test_while_one_is_used_another_one_takes_nothing_away(root: Path, tmp_path: Path) -> None:
    edit(root)
    checkout = Checkout.around(root)
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as first:
        (root / "changed").write_text("and again\n")
        with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as second:
            assert first.commit != second.commit
            assert git(first.repository, "show", f"{first.commit}:changed") == "changed again"
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as third:
        objects = {path.name for path in (third.repository / "objects").rglob("*")}
        assert first.commit[2:] not in objects, "what was left by others is removed"
        assert third.commit == second.commit


def test_what_a_hook_is_told_does_not_matter(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", "other")
    checkout = Checkout.around(root)
    with take_snapshot(checkout, checkout.working_tree(), tmp_path / "home") as snapshot:
        assert not snapshot.is_changed


def test_a_file_that_git_cannot_take_is_named(root: Path, tmp_path: Path) -> None:
    # Missing rights would not do: root may read everything.
    git(root, "config", "filter.broken.clean", "false")
    git(root, "config", "filter.broken.required", "true")
    (root / ".gitattributes").write_text("secret filter=broken\n")
    (root / "secret").write_text("x")
    checkout = Checkout.around(root)
    with (
        pytest.raises(ConfigError, match="secret"),
        take_snapshot(checkout, checkout.working_tree(), tmp_path / "home"),
    ):
        pass


def test_a_repository_within_that_has_no_commit_is_named(root: Path, tmp_path: Path) -> None:
    (root / "inner").mkdir()
    git(root / "inner", "init", "--quiet")
    checkout = Checkout.around(root)
    with (
        pytest.raises(ConfigError, match="inner/"),
        take_snapshot(checkout, checkout.working_tree(), tmp_path / "home"),
    ):
        pass
