"""Values and the files that hold them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.bridges.github.resources import (
    Comment,
    CommentKey,
    Head,
    Key,
    Pull,
    PullKey,
    RefKey,
    Snapshot,
    StatusKey,
    Value,
    directory,
    files,
    heads,
    is_storable,
    key_of,
    parse,
)
from datakit_ci.metadata import CommitStatus

COMMITS = st.text("0123456789abcdef", min_size=40, max_size=40)
LINES = st.text(st.characters(blacklist_categories=("Cc", "Zl", "Zp", "Cs")), max_size=20).map(
    str.strip
)
STEPS = st.text("abcé-_. ", min_size=1, max_size=5).filter(lambda step: step not in (".", ".."))
PATHS = st.lists(STEPS, min_size=1, max_size=3).map("/".join)
PAIRS: st.SearchStrategy[tuple[Key, Value]] = st.one_of(
    st.tuples(
        st.integers(1, 99).map(PullKey),
        st.builds(
            Pull, COMMITS, LINES, LINES, LINES, st.booleans(), st.sampled_from(["open", "closed"])
        ),
    ),
    st.tuples(
        st.builds(CommentKey, st.integers(1, 99), STEPS), st.builds(Comment, LINES, st.text("ab\n"))
    ),
    st.tuples(
        st.builds(RefKey, st.sampled_from(["heads", "tags"]), PATHS), st.builds(Head, COMMITS)
    ),
    st.tuples(
        st.builds(StatusKey, COMMITS, PATHS),
        st.builds(CommitStatus, st.sampled_from(["pending", "success"]), LINES, LINES),
    ),
)


@given(st.lists(PAIRS))
def test_what_is_written_is_what_is_read(pairs: list[tuple[Key, Value]]) -> None:
    snapshot: Snapshot = {key: value for key, value in pairs if is_storable(key)}
    contents = {
        f"{directory(key)}/{name}": content
        for key, value in snapshot.items()
        for name, content in files(key, value).items()
        if content is not None
    }
    assert parse(contents) == snapshot


@pytest.mark.parametrize(
    "path",
    [
        ".monitor",
        "pr/7/.dirty",
        "pr/0/head",
        "pr/7/comments/1/colour",
        "ref/notes/x/head",
        "commit/abc/status/x/state",
        "pr/7/head/more",
    ],
)
def test_other_files_are_nothing_of_ours(path: str) -> None:
    assert key_of(path) is None


def test_what_is_incomplete_is_left_out() -> None:
    commit = "a" * 40
    assert not parse(
        {
            "pr/7/title": b"no head",
            "pr/8/head": b"not a commit",
            "pr/7/comments/1/user": b"ann",
            "ref/heads/x/head": b"",
            f"commit/{commit}/status/x/description": b"no state",
        }
    )


@pytest.mark.parametrize(
    "key",
    [
        StatusKey("a" * 40, ""),
        StatusKey("a" * 40, "a//b"),
        StatusKey("a" * 40, "../../x"),
        StatusKey("a" * 40, "a/state"),
        StatusKey("a" * 40, "x" * 256),
        RefKey("heads", "a\0b"),
    ],
)
def test_names_that_no_directory_can_have_are_known(key: Key) -> None:
    assert not is_storable(key)


def test_heads_are_those_of_pull_requests_and_refs() -> None:
    snapshot: Snapshot = {
        PullKey(1): Pull("a"),
        RefKey("tags", "v"): Head("b"),
        CommentKey(1, "2"): Comment("ann", "x"),
    }
    assert set(heads(snapshot)) == {"a", "b"}
