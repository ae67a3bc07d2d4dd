"""However a stream is cut: no secret leaves in any form, and nothing else is held back."""

from __future__ import annotations

import base64
from itertools import pairwise
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.redaction import MARK, Redaction

# Few letters, so that secrets overlap, contain one another and nearly match all the time.
letters = st.sampled_from(list(b"aab-/+ "))
secrets = st.lists(st.lists(letters, min_size=8, max_size=12).map(bytes), min_size=1, max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Redaction, list[bytes], list[bytes]]:
    """A redaction, its secrets, and a stream with some of them in several forms, in pieces."""
    values = draw(secrets)
    pieces: list[bytes] = []
    for _ in range(draw(st.integers(0, 8))):
        value = draw(st.sampled_from(values))
        form = draw(st.integers(0, 4))
        match form:
            case 0:
                pieces.append(value)
            case 1:
                pieces.append(quote(value, safe="").encode())
            case 2:
                around = draw(st.binary(max_size=3))
                pieces.append(base64.b64encode(around + value + around))
            case 3:
                pieces.append(value[: draw(st.integers(0, len(value)))])
            case _:
                pieces.append(bytes(draw(st.lists(letters, max_size=6))))
    whole = b"".join(pieces)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    chunks = [whole[start:stop] for start, stop in pairwise([0, *cuts, len(whole)])]
    named = {str(number): value for number, value in enumerate(values)}
    return Redaction(named), values, chunks


def forms(value: bytes) -> list[bytes]:
    return [value, quote(value, safe="").encode(), base64.b64encode(value)[: len(value) * 8 // 6]]


def expected(redaction: Redaction, whole: bytes) -> bytes:
    """Byte by byte, without any cleverness."""
    covered = [False] * len(whole)
    for start, stop in redaction.ranges(whole):
        covered[start:stop] = [True] * (stop - start)
    made = bytearray()
    for index, byte in enumerate(whole):
        if not covered[index]:
            made.append(byte)
        elif not index or not covered[index - 1]:
            made += MARK
    return bytes(made)


@given(streams())
def test_no_secret_leaves_however_the_stream_is_cut(
    stream: tuple[Redaction, list[bytes], list[bytes]],
) -> None:
    redaction, values, chunks = stream
    redactor = redaction.stream()
    made = b"".join([*map(redactor.feed, chunks), redactor.finish()])
    assert made == expected(redaction, b"".join(chunks))
    for value in values:
        assert not any(form in made for form in forms(value) if b"*" not in form)


@given(streams())
def test_only_what_could_become_a_secret_is_held_back(
    stream: tuple[Redaction, list[bytes], list[bytes]],
) -> None:
    redaction, _, chunks = stream
    redactor = redaction.stream()
    seen = b""
    for chunk in chunks:
        redactor.feed(chunk)
        seen += chunk
        held = redactor._held
        assert seen.endswith(held)
        assert not held or could_go_on(redaction, held)
        longer = range(len(held) + 1, min(len(seen), 40) + 1)
        assert not any(could_go_on(redaction, seen[-n:]) for n in longer)


def could_go_on(redaction: Redaction, end: bytes) -> bool:
    """Whether a form of a secret begins with ``end`` and is longer."""
    return any(form.startswith(end) and form != end for form in redaction._names)
