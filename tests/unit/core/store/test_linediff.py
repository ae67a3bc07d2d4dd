"""Line differences: numbers on both sides, context, and nothing of what is binary."""

from __future__ import annotations

from datakit_core.store.linediff import LineChange, line_diff


def test_changes_have_their_numbers_on_either_side() -> None:
    hunks = line_diff(b"a\nb\nc\n", b"a\nx\nc\nd\n", context=1)
    assert hunks is not None
    assert [line for hunk in hunks for line in hunk.lines] == [
        LineChange(" ", 1, 1),
        LineChange("-", 2, None),
        LineChange("+", None, 2),
        LineChange(" ", 3, 3),
        LineChange("+", None, 4),
    ]


def test_places_far_apart_are_hunks_of_their_own() -> None:
    old = b"".join(b"%d\n" % number for number in range(100))
    hunks = line_diff(old, old.replace(b"\n5\n", b"\nfive\n").replace(b"\n80\n", b"\neighty\n"))
    assert hunks is not None
    assert [len(hunk.lines) for hunk in hunks] == [8, 8]


def test_equal_and_empty_contents_differ_nowhere() -> None:
    assert line_diff(b"same\n", b"same\n") == []
    assert line_diff(b"", b"") == []
    added = line_diff(b"", b"new")
    assert added is not None
    assert [line.sign for line in added[0].lines] == ["+"]


def test_binary_contents_are_not_compared() -> None:
    assert line_diff(b"a\0", b"b") is None
    assert line_diff(b"a", b"\0") is None
