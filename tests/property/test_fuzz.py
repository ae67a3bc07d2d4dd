"""The fuzz target, fed by Hypothesis: random bytes, and sessions with some bytes changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.session import run_session

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())
SEEDS = [path.read_bytes() for path in CORPUS]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_every_seed_is_a_session(path: Path) -> None:
    assert run_session(path.read_bytes()) > 3


@given(st.binary(max_size=500))
def test_random_bytes_break_no_rule(data: bytes) -> None:
    run_session(data)


@settings(max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 2000),
    tail=st.binary(max_size=50),
)
def test_changed_sessions_break_no_rule(
    seed: bytes, changes: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    data = bytearray(seed)
    for at, value in changes:
        data[at % len(data)] = value
    run_session(bytes(data[:cut]) + tail if cut < len(data) else bytes(data) + tail)
