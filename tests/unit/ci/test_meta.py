"""``meta.json``: a round trip, what is refused, and how durations read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from datakit_ci.meta import Meta, duration
from datakit_core.errors import StoreError
from datakit_core.store.objects import EMPTY_TREE

START = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)

META = Meta(
    command="make",
    input=EMPTY_TREE,
    queued=START,
    started=START + timedelta(seconds=1),
    finished=START + timedelta(seconds=2),
    executor="local",
    exit_status=0,
    log_size=17,
    details={"datakit": "1.0"},
)


def test_what_is_written_is_read_again() -> None:
    assert Meta.from_bytes(META.to_bytes()) == META


def test_times_are_written_in_utc_whatever_they_were_given_in() -> None:
    elsewhere = START.astimezone(timezone(timedelta(hours=5)))
    meta = Meta("make", EMPTY_TREE, elsewhere, START, START, "local")
    assert json.loads(meta.to_bytes())["queued"] == "2024-05-06T07:08:09.123Z"
    assert Meta.from_bytes(meta.to_bytes()).queued == START


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"input": "nonsense"},
        {"queued": "yesterday"},
        {"exit_status": "0"},
        {"log_size": None},
        {"details": []},
    ],
)
def test_a_damaged_file_is_refused(change: dict[str, object]) -> None:
    fields = {**json.loads(META.to_bytes()), **change}
    with pytest.raises(StoreError, match=r"damaged meta\.json|invalid-hash"):
        Meta.from_bytes(json.dumps(fields).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match=r"damaged meta\.json"):
        Meta.from_bytes(content)


def test_fields_of_later_programs_are_ignored() -> None:
    fields = {**json.loads(META.to_bytes()), "worker": "w1"}
    assert Meta.from_bytes(json.dumps(fields).encode()) == META


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0.0 s"),
        (0.26, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_are_for_people(seconds: float, expected: str) -> None:
    assert duration(START, START + timedelta(seconds=seconds)) == expected
