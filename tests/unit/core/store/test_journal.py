"""The journal's records, and what recovery decides from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_core.errors import RepositoryError
from datakit_core.store.journal import (
    JOURNAL_HEADER,
    Torn,
    decode_segment,
    encode_record,
    settled_target,
)
from datakit_core.store.loose import encode_loose, is_whole, loose_id, loose_name
from datakit_core.store.objects import CommitId, ObjectId, ObjectKind, new_object
from datakit_core.store.requests import RefUpdate, Write

A, B, C, D = (CommitId(ObjectId(digit * 40)) for digit in "abcd")

objects = st.builds(new_object, st.sampled_from(ObjectKind), st.binary(max_size=200))
updates = st.builds(
    RefUpdate, st.text(max_size=9), st.sampled_from([None, A, B]), st.sampled_from([None, A, B])
)
writes = st.builds(
    Write,
    st.lists(objects, max_size=3).map(tuple),
    st.lists(updates, max_size=3).map(tuple),
)


def move(old: CommitId | None, new: CommitId | None) -> RefUpdate:
    return RefUpdate("refs/heads/main", old, new)


@given(st.lists(writes, max_size=3), st.integers(0, 64))
def test_records_come_back_and_zeros_end_them(records: list[Write], zeros: int) -> None:
    data = JOURNAL_HEADER + b"".join(map(encode_record, records)) + bytes(zeros)
    segment = decode_segment(data)
    assert segment.records == tuple(records)
    assert not segment.torn


@given(writes, writes, st.data())
def test_a_record_that_is_cut_anywhere_is_left_out(
    one: Write, two: Write, data: st.DataObject
) -> None:
    whole = JOURNAL_HEADER + encode_record(one)
    last = encode_record(two)
    cut = data.draw(st.integers(0, len(last) - 1))
    assert decode_segment(whole + last[:cut] + bytes(99)).records[:1] == (one,)
    assert len(decode_segment(whole + last[:cut]).records) == 1


@given(writes, st.data())
def test_a_record_with_a_flipped_bit_is_left_out(write: Write, data: st.DataObject) -> None:
    record = bytearray(encode_record(write))
    record[data.draw(st.integers(0, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    segment = decode_segment(JOURNAL_HEADER + record)
    assert segment.records == ()
    assert segment.torn


@pytest.mark.parametrize("data", [b"", JOURNAL_HEADER[:7], bytes(64)])
def test_a_segment_without_its_first_line_holds_nothing(data: bytes) -> None:
    assert decode_segment(data).records == ()


def test_a_segment_of_another_version_is_refused() -> None:
    with pytest.raises(RepositoryError, match="format 2"):
        decode_segment(b"datakit journal 2\n" + bytes(100))


@pytest.mark.parametrize(
    ("found", "moves", "settled"),
    [
        (None, [move(None, A), move(A, B)], B),
        (A, [move(None, A), move(A, B)], B),
        (B, [move(None, A), move(A, B)], B),
        (A, [move(A, B), move(B, A), move(A, C)], C),
        (B, [move(A, B), move(B, A), move(A, C)], C),
        (A, [move(None, A), move(A, None)], None),
        (D, [move(None, A), move(A, B)], D),
        (Torn.TORN, [move(None, A), move(A, B)], B),
        (Torn.TORN, [move(A, B), move(C, D)], D),
    ],
)
def test_a_ref_is_moved_only_from_its_recorded_old_value(
    found: CommitId | Torn | None, moves: list[RefUpdate], settled: CommitId | None
) -> None:
    assert settled_target(moves, found) == settled


@given(st.binary(min_size=1, max_size=5000), st.data())
def test_a_torn_object_is_recognised(content: bytes, data: st.DataObject) -> None:
    new = new_object(ObjectKind.BLOB, content)
    file = encode_loose(new)
    assert is_whole(file, new.id)
    assert loose_id(loose_name(new.id)) == new.id
    assert not is_whole(file[: data.draw(st.integers(0, len(file) - 1))], new.id)
    assert not is_whole(bytes(len(file)), new.id)
