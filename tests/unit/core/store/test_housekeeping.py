"""Which step is next, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_core.store.housekeeping import (
    MARKS,
    Facts,
    Limits,
    Ref,
    Step,
    encode_mark,
    expired_fetches,
    mark_time,
    next_step,
    parse_refs,
    time_of_grace,
)
from datakit_core.store.objects import CommitId, ObjectId, decode_commit

LIMITS = Limits(loose=100, packs=5, refs=10, grace=1000.0)
QUIET = Facts(last_mark=0.0)
ONE, TWO, THREE = (ObjectId(digit * 40) for digit in "123")
FETCHED = "refs/datakit/fetched/"


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (QUIET, None),
        (replace(QUIET, loose=99, packs=4, refs=9), None),
        (replace(QUIET, loose=100), Step.PACK),
        (replace(QUIET, packs=5), Step.PACK),
        (replace(QUIET, refs=10), Step.REFS),
        (replace(QUIET, refs=10, loose=100), Step.PACK),
        (replace(QUIET, loose=150, unpackable=60), None),
        (replace(QUIET, loose=160, unpackable=60), Step.PACK),
        (replace(QUIET, last_mark=None), Step.COLLECT),
        (replace(QUIET, last_mark=499.0), None),
        (replace(QUIET, last_mark=500.0), Step.COLLECT),
        (replace(QUIET, last_mark=500.0, refs=10), Step.REFS),
    ],
)
def test_the_most_urgent_step_is_next(facts: Facts, step: Step | None) -> None:
    assert next_step(facts, LIMITS) is step


def test_what_is_kept_is_kept_for_longer_than_any_transaction() -> None:
    assert time_of_grace(QUIET, LIMITS) == 1000.0
    old = replace(QUIET, oldest_transaction=50_000.0, last_mark=600.0)
    assert time_of_grace(old, LIMITS) > 50_000.0
    assert next_step(old, LIMITS) is None


def test_a_mark_has_all_tips_and_bases_as_parents_once() -> None:
    refs = parse_refs(
        f"{ONE} commit refs/heads/main\n{ONE} commit refs/heads/same\n{TWO} blob refs/datakit/x\n"
        f"{TWO} commit {MARKS}5\n"
    )
    data = encode_mark(refs, [CommitId(THREE), CommitId(ONE)], FETCHED, 1234)
    mark = decode_commit(CommitId(TWO), data)
    assert mark.parents == (ONE, THREE)
    assert mark.committer.time == 1234


def test_marks_are_told_from_other_refs_by_name() -> None:
    names = [f"{MARKS}12", f"{MARKS}x", "refs/heads/12"]
    assert [mark_time(Ref(ONE, True, name)) for name in names] == [12, None, None]


def test_fetches_expire_that_were_there_at_the_last_mark_and_have_not_moved() -> None:
    names = [f"{FETCHED}abc/refs/heads/{name}" for name in ("same", "moved", "new")]
    before = [Ref(ONE, True, name) for name in names[:2]]
    message = decode_commit(CommitId(TWO), encode_mark(before, [], FETCHED, 1)).message
    now = [Ref(ONE, True, names[0]), Ref(TWO, True, names[1]), Ref(ONE, True, names[2])]
    assert expired_fetches(now, message) == [now[0]]
    assert expired_fetches([Ref(ONE, True, "refs/heads/main")], message) == []
