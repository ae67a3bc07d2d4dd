"""What travels to the writer process and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.errors import (
    DatakitError,
    HeadMoved,
    InvalidName,
    IoFailed,
    MergeConflict,
    NoEntry,
    RepositoryError,
    StoreError,
    UnknownObject,
)
from datakit_core.store.objects import CommitId, ObjectId, ObjectKind, new_object
from datakit_core.store.requests import (
    Frames,
    ImportDirectory,
    IsAncestor,
    MergeBase,
    RefUpdate,
    Request,
    Value,
    Write,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

ONE, TWO = CommitId(ObjectId("1" * 40)), CommitId(ObjectId("2" * 40))

REQUESTS: list[Request] = [
    Write(()),
    Write(
        (new_object(ObjectKind.BLOB, b"\0\xff"), new_object(ObjectKind.TREE, b"")),
        (RefUpdate("refs/heads/na\u00efve", None, ONE), RefUpdate("refs/heads/b", TWO, None)),
    ),
    MergeBase(ONE, TWO),
    IsAncestor(ONE, TWO),
    ImportDirectory(Path("/a/na\udcefve")),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    (frame,) = Frames().feed(b"".join(encode_request(request_)))
    assert decode_request(frame) == request_


@pytest.mark.parametrize("value", [None, True, False, "1" * 40])
def test_a_value_arrives_as_it_was_sent(value: Value) -> None:
    (frame,) = Frames().feed(b"".join(encode_answer(value)))
    assert decode_answer(frame) == value


@pytest.mark.parametrize(
    "error",
    [
        HeadMoved("main", ONE, None),
        UnknownObject("no commit"),
        InvalidName("not so"),
        RepositoryError("disk full"),
        IoFailed("cannot read x"),
        StoreError("damaged"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: DatakitError) -> None:
    (frame,) = Frames().feed(b"".join(encode_answer(error)))
    answer = decode_answer(frame)
    assert type(answer) is type(error)
    assert str(answer) == str(error)
    if isinstance(error, HeadMoved):
        assert isinstance(answer, HeadMoved)
        assert (answer.branch, answer.expected, answer.found) == ("main", ONE, None)


@pytest.mark.parametrize("error", [NoEntry(), MergeConflict(["a"])])
def test_an_error_that_no_writer_raises_keeps_its_text(error: DatakitError) -> None:
    (frame,) = Frames().feed(b"".join(encode_answer(error)))
    answer = decode_answer(frame)
    assert isinstance(answer, StoreError)
    assert str(answer) == str(error)


def test_nonsense_is_an_error_and_not_a_crash() -> None:
    assert isinstance(decode_answer(({"value": [1]}, memoryview(b""))), RepositoryError)
    with pytest.raises(ValueError, match="unknown request"):
        decode_request(({}, memoryview(b"")))
