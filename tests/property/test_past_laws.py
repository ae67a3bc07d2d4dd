"""Laws of the past: a look back shows what was shown then, whatever has happened since."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datakit_core.client.past import Chronicle
from tests.support.histories import MadeUpHistories

_BRANCHES = ("a", "b")

_steps = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from(_BRANCHES), st.integers(0, 12)),
    st.tuples(st.just("begin anew"), st.sampled_from(_BRANCHES), st.integers(0, 12)),
    st.tuples(st.just("remove"), st.sampled_from(_BRANCHES), st.just(0)),
    st.tuples(st.just("look"), st.sampled_from(_BRANCHES), st.integers(-1, 13)),
)


@given(st.lists(_steps, max_size=40), st.integers(1, 20))
async def test_a_head_is_the_one_that_going_back_finds(
    steps: list[tuple[str, str, int]], most: int
) -> None:
    """Also with clocks that jump, and whatever was looked at or forgotten before."""
    histories = MadeUpHistories()
    chronicle = Chronicle(histories, most)
    for step, branch, time in steps:
        match step:
            case "commit":
                histories.add(branch, time)
            case "begin anew":
                histories.add(branch, time, begins=True)
            case "remove":
                histories.heads.pop(branch, None)
            case _:
                assert await chronicle.head_at(branch, time) == histories.walk(branch, time)
                around = await chronicle.around(branch, time)
                assert around.commit == histories.walk(branch, time)
                if around.since is not None:
                    assert histories.walk(branch, around.since) == around.commit
                    assert histories.walk(branch, around.since - 1) != around.commit
                if around.later is not None:
                    assert histories.walk(branch, around.later) != around.commit
                    assert histories.walk(branch, around.later - 1) == around.commit
                if around.earlier is not None and around.since is not None:
                    before = histories.walk(branch, around.since - 1)
                    assert histories.walk(branch, around.earlier) == before
