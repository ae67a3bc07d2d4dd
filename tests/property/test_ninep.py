"""Laws of the codec: round trips in every dialect, and any split of the bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_core.errors import DatakitError, ProtocolError
from datakit_core.ninep import wire
from datakit_core.ninep.attributes import escape, unescape
from datakit_core.ninep.codec import Framer, codec_for
from datakit_core.ninep.dialect import LINUX, Dialect
from datakit_core.ninep.messages import UNIX, Record, WireStat
from datakit_core.ninep.wire import Fid, Fixed, Qid, Tag
from tests.support.peer import DIALECTS, Peer
from tests.support.tree import TreeDirectory

BITS = {"B": 8, "H": 16, "I": 32, "Q": 64}
TAGS = st.integers(0, 0xFFFF).map(Tag)
NAMES = st.binary(max_size=40).map(lambda raw: raw.decode(errors="surrogateescape"))


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


QIDS = st.builds(Qid, unsigned(8), unsigned(32), unsigned(64))


def values(shape: object, dialect: Dialect) -> st.SearchStrategy[Any]:
    """What a field may hold."""
    match shape:
        case Fixed(format=letter):
            return unsigned(BITS[letter])
        case wire.STRING:
            return NAMES
        case wire.STRINGS:
            return st.lists(NAMES, max_size=20).map(tuple)
        case wire.DATA:
            return st.binary(max_size=300)
        case wire.QID:
            return QIDS
        case wire.QIDS:
            return st.lists(QIDS, max_size=20).map(tuple)
        case _:
            assert shape is WireStat
            return records(WireStat, dialect)


def records(kind: type[Record], dialect: Dialect) -> st.SearchStrategy[Record]:
    """Any value of a record, with the defaults of the fields that the dialect lacks."""
    fields = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name == "number":
            continue
        _, shape, *marks = get_args(hint)
        if UNIX not in marks or dialect.unix_fields:
            fields[name] = values(shape, dialect)
    return st.builds(kind, **fields)


def messages(dialect: Dialect) -> st.SearchStrategy[Record]:
    return st.sampled_from(sorted(dialect.messages)).flatmap(
        lambda number: records(dialect.messages[number], dialect)
    )


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [(dialect, kind) for dialect in DIALECTS for kind in dialect.messages.values()],
    ids=str,
)
@given(data=st.data())
def test_every_message_survives_in_every_dialect(
    dialect: Dialect, kind: type[Record], data: st.DataObject
) -> None:
    tag, message = data.draw(TAGS), data.draw(records(kind, dialect))
    codec = codec_for(dialect)
    frame = codec.encode(tag, message)
    assert int.from_bytes(frame[:4], "little") == len(frame)
    assert codec.decode(frame) == (tag, message)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
@given(data=st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(
    dialect: Dialect, data: st.DataObject
) -> None:
    codec = codec_for(dialect)
    frames = [
        codec.encode(Tag(number), message)
        for number, message in enumerate(data.draw(st.lists(messages(dialect), max_size=5)))
    ]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    framer = Framer(1 << 20)
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.feed(stream[start:end])
        found += framer.frames()
    assert found == frames
    assert not framer.waiting


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
@given(st.binary(min_size=3, max_size=200))
def test_decoding_anything_gives_a_message_or_one_of_our_errors(
    dialect: Dialect, body: bytes
) -> None:
    frame = (len(body) + 4).to_bytes(4, "little") + body
    with contextlib.suppress(DatakitError):
        codec_for(dialect).decode(frame)


SMALL = st.integers(0, 3).map(Fid)


def likely(message: Record) -> st.SearchStrategy[Record]:
    """Make it likely that a request meets a bound fid and an existing name."""
    changes: dict[str, st.SearchStrategy[Any]] = {
        "fid": SMALL,
        "newfid": SMALL,
        "dfid": SMALL,
        "olddirfid": SMALL,
        "newdirfid": SMALL,
        "name": st.sampled_from(["d", "f", "..", "x", "a%2Fb"]),
        "oldname": st.sampled_from(["d", "f"]),
        "names": st.lists(st.sampled_from(["d", "f", "..", "x"]), max_size=3).map(tuple),
    }
    present = {name: value for name, value in changes.items() if hasattr(message, name)}
    return st.builds(functools.partial(dataclasses.replace, message), **present)  # type: ignore[type-var]  # every record is a dataclass


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
@given(data=st.data())
def test_a_session_answers_any_request_once_and_lives(
    dialect: Dialect, data: st.DataObject
) -> None:
    root = TreeDirectory()
    root.add_directory("d").add_file("f", b"content")
    peer = Peer(root, dialect).attach()
    for number in data.draw(st.lists(st.sampled_from(sorted(dialect.messages)), max_size=12)):
        message = data.draw(records(dialect.messages[number], dialect).flatmap(likely))
        try:
            reply = peer.call(message)
        except ProtocolError:
            return  # a random Tversion ended the session, which is allowed
        assert reply.number in {message.number + 1, 7 if dialect is LINUX else 107}
    assert peer.take() == []


@given(NAMES)
def test_an_escaped_name_has_no_slash_and_comes_back(name: str) -> None:
    assert "/" not in escape(name)
    assert unescape(escape(name)) == name
