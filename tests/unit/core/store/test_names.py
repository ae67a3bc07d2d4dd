"""Which names may be created."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument, InvalidName
from datakit_core.store.names import (
    MAX_DEPTH,
    check_branch,
    check_file_name,
    check_path,
    split_path,
)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\0b", "a\\b", ".git", ".GIT", ".Git ", ".git.", ".git. .", "git~1",
     "GIT~1", ".g\u200cit", "\ufeff.git", ".gi\u200dT", ".git:stream", ".git::$INDEX_ALLOCATION",
     "x" * 256, "\u00e9" * 128],
)  # fmt: skip
def test_dangerous_file_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["a", ".gitignore", ".gitmodules", ".github", "git", "git~2", "x.git", "...", "a b",
     "na\udcefve", "dot.", "ctl", "x" * 255, "\u00e9" * 127],
)  # fmt: skip
def test_ordinary_file_names_are_accepted(name: str) -> None:
    check_file_name(name)


def test_a_path_is_split_at_slashes() -> None:
    assert split_path("") == ()
    assert split_path("a") == ("a",)
    assert split_path("a/b c/d") == ("a", "b c", "d")


@pytest.mark.parametrize("path", ["/a", "a/", "a//b", "a/./b", "..", "a/../b", "/"])
def test_a_path_cannot_leave_its_tree(path: str) -> None:
    with pytest.raises(InvalidArgument):
        split_path(path)


def test_a_path_to_be_created_has_checked_names_and_a_limited_depth() -> None:
    assert check_path("a/b") == ("a", "b")
    with pytest.raises(InvalidArgument, match="git"):
        check_path("a/.GIT/hooks")
    check_path("/".join(["d"] * MAX_DEPTH))
    with pytest.raises(InvalidArgument, match="at most"):
        check_path("/".join(["d"] * (MAX_DEPTH + 1)))


@pytest.mark.parametrize(
    "name",
    ["", "@", "HEAD", "-x", "../../config", "a..b", "a.lock", "a.lock/b", "x@{1}", "refs/heads/x",
     " ", "a b", "a\tb", "a\nb", "a\x7fb", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "/a",
     "a/", "a//b", ".a", "a/.b", "a.", "a\0b", "na\udcefve", "x" * 251, "/".join(["ab"] * 400)],
)  # fmt: skip
def test_what_is_no_branch_for_git_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_branch(name)


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "a/b",
        "status-user-repo-master",
        "na\u00efve",
        "a@b",
        "@a",
        "a-",
        "x" * 250,
        "HEAD/x",
    ],
)
def test_branch_names_are_accepted(name: str) -> None:
    assert check_branch(name) == name
