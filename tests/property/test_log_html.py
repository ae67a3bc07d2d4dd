"""Whatever a build prints: its HTML holds no tag but ours, however the bytes were cut."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.ansi import LogRenderer
from tests.support.html import read_page

_ALLOWED = re.compile(r'<span class="[a-z0-9 -]+">|</span>|<i class="cut">|</i>')

_FRAGMENTS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"\x1b[",
            b"\x1b]",
            b"\x1bP",
            b"\x1b\\",
            b"\x07",
            b"\r",
            b"\n",
            b"\b",
            b"\t",
            b"m",
            b"K",
            b"C",
            b"38;5;",
            b"38;2;1;2;3m",
            b"\xc2\x9b",
            b"31",
            b";",
            b"<script>",
            b'"',
            b"&amp;",
            b"99999C",
            "\u202e\u2028".encode(),
            b"\x1b[7m",
            b"\x1b[0m",
        ]
    ),
)

logs = st.lists(_FRAGMENTS, max_size=40).map(b"".join)


def render(pieces: list[bytes]) -> list[str]:
    renderer = LogRenderer()
    lines = [line.html for piece in pieces for line in renderer.feed(piece)]
    rest = renderer.partial()
    return lines if rest is None else [*lines, rest.html]


@given(logs)
def test_only_our_own_tags_come_out(log: bytes) -> None:
    for html in render([log]):
        bare = _ALLOWED.sub("", html)
        assert not set(bare) & set("<>\"'\n\r\x1b\x00\x07\u202e")
        page = read_page(html)
        assert page.broken == []
        assert set(page.tags) <= {"span", "i"}


@given(logs, st.lists(st.integers(0, 200), max_size=6))
def test_how_the_bytes_were_cut_makes_no_difference(log: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    pieces = [log[start:end] for start, end in pairwise(places)]
    assert render(pieces) == render([log])


@given(logs, st.integers(0, 200))
def test_rendering_resumes_at_every_line(log: bytes, cut: int) -> None:
    first = LogRenderer()
    lines = [line.html for line in first.feed(log[:cut])]
    second = LogRenderer(first.cursor)
    lines += [line.html for line in second.feed(log[first.cursor.offset :])]
    rest = second.partial()
    assert lines + ([rest.html] if rest else []) == render([log])
