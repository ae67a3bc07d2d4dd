"""Bytes to messages and back: known bytes, damaged frames, frames in pieces."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument, NotSupported, ProtocolError, TooLarge
from datakit_core.ninep.codec import Framer, codec_for, tag_of
from datakit_core.ninep.dialect import PLAIN, UNIX, Dialect
from datakit_core.ninep.messages import (
    KEEP,
    Rattach,
    Rclunk,
    Record,
    Rerror,
    Rread,
    Rstat,
    Rwalk,
    Tattach,
    Tcreate,
    Tread,
    Tversion,
    Twalk,
    Twrite,
    Twstat,
    WireStat,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Qid, Tag

STAT = WireStat(0, 0, Qid(0, 0, 5), 0o664, 0, 0, 2, "n", "u", "g", "m")
STAT_BYTES = (
    "00 00 00 00 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 b4 01 00 00"
    "00 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 01 00 6e 01 00 75 01 00 67 01 00 6d"
)

KNOWN = [
    (PLAIN, NO_TAG, Tversion(8192, "9P2000"), "64 ffff 00200000 0600 395032303030"),
    (PLAIN, 1, Tattach(Fid(0), NO_FID, "u", "/"), "68 0100 00000000 ffffffff 010075 01002f"),
    (
        UNIX,
        1,
        Tattach(Fid(0), NO_FID, "u", "/", 1000),
        "68 0100 00000000 ffffffff 010075 01002f e8030000",
    ),
    (PLAIN, 1, Rattach(Qid(0x80, 0, 1)), "69 0100 80 00000000 0100000000000000"),
    (PLAIN, 2, Rerror("No"), "6b 0200 02004e6f"),
    (UNIX, 2, Rerror("No", 2), "6b 0200 02004e6f 02000000"),
    (
        PLAIN,
        3,
        Twalk(Fid(1), Fid(2), ("a", "bc")),
        "6e 0300 01000000 02000000 0200 010061 02006263",
    ),
    (PLAIN, 3, Twalk(Fid(1), Fid(2), ()), "6e 0300 01000000 02000000 0000"),
    (PLAIN, 3, Rwalk((Qid(0, 7, 9),)), "6f 0300 0100 00 07000000 0900000000000000"),
    (
        UNIX,
        4,
        Tcreate(Fid(1), "l", 0x02000000, 0, "to"),
        "72 0400 01000000 01006c 00000002 00 0200746f",
    ),
    (PLAIN, 5, Tread(Fid(1), 1 << 32, 9), "74 0500 01000000 0000000001000000 09000000"),
    (PLAIN, 5, Rread(b"hi"), "75 0500 02000000 6869"),
    (PLAIN, 6, Twrite(Fid(1), 3, b"hi"), "76 0600 01000000 0300000000000000 02000000 6869"),
    (PLAIN, 7, Rclunk(), "79 0700"),
    (PLAIN, 8, Rstat(STAT), "7d 0800 3500 3300" + STAT_BYTES),
    (PLAIN, 8, Twstat(Fid(1), STAT), "7e 0800 01000000 3500 3300" + STAT_BYTES),
]


def framed(text: str) -> bytes:
    body = bytes.fromhex(text)
    return (len(body) + 4).to_bytes(4, "little") + body


@pytest.mark.parametrize(("dialect", "tag", "message", "text"), KNOWN)
def test_known_messages_have_their_bytes(
    dialect: Dialect, tag: int, message: Record, text: str
) -> None:
    codec = codec_for(dialect)
    assert codec.encode(Tag(tag), message) == framed(text)
    assert codec.decode(framed(text)) == (tag, message)
    assert tag_of(framed(text)) == tag


def test_names_that_are_no_utf8_survive() -> None:
    codec = codec_for(PLAIN)
    frame = framed("6e 0300 01000000 02000000 0100 0200ff41")
    tag, message = codec.decode(frame)
    assert message == Twalk(Fid(1), Fid(2), ("\udcffA",))
    assert codec.encode(tag, message) == frame


class TestLeniency:
    def test_fields_of_9p2000u_may_be_absent(self) -> None:
        frame = framed("68 0100 00000000 ffffffff 010075 01002f")
        assert codec_for(UNIX).decode(frame)[1] == Tattach(Fid(0), NO_FID, "u", "/")

    def test_a_stat_may_lack_them_too(self) -> None:
        frame = framed("7e 0800 01000000 3500 3300" + STAT_BYTES)
        assert codec_for(UNIX).decode(frame)[1] == Twstat(Fid(1), STAT)

    def test_bytes_after_the_last_field_are_ignored(self) -> None:
        assert codec_for(PLAIN).decode(framed("79 0700 0102"))[1] == Rclunk()
        assert codec_for(PLAIN).decode(framed("6b 0200 02004e6f 02000000"))[1] == Rerror("No")


class TestDamage:
    @pytest.mark.parametrize(
        "text",
        [
            "74 0500 01000000",  # numbers missing
            "6e 0300 01000000 02000000",  # no count
            "6e 0300 01000000 02000000 0200 010061",  # second name missing
            "6e 0300 01000000 02000000 0100 ff7f61",  # string longer than the frame
            "76 0600 01000000 0300000000000000 03000000 6869",  # data shorter than told
            "76 0600 01000000 0300000000000000 ffffffff 6869",
            "6f 0300 0200 00 07000000 0900000000000000",  # second qid missing
            "7e 0800 01000000 3500 3400" + STAT_BYTES,  # stat longer than the frame
            "7e 0800 01000000 3500",
            "7e 0800 01000000 0500 0300 000000",  # stat too short for its fields
        ],
    )
    @pytest.mark.parametrize("dialect", [PLAIN, UNIX], ids=str)
    def test_a_short_message_is_an_error(self, text: str, dialect: Dialect) -> None:
        with pytest.raises(InvalidArgument):
            codec_for(dialect).decode(framed(text))

    @pytest.mark.parametrize("number", [0, 12, 99, 106, 128, 255])
    def test_an_unknown_type_is_named(self, number: int) -> None:
        with pytest.raises(NotSupported, match=rf"^unknown packet type {number}$"):
            codec_for(PLAIN).decode(framed(f"{number:02x} 0100"))


class TestWhatDoesNotFit:
    def test_a_long_string_is_refused(self) -> None:
        with pytest.raises(TooLarge, match="65536 bytes"):
            codec_for(PLAIN).encode(Tag(1), Rerror("x" * 65536))

    def test_a_number_out_of_range_is_refused(self) -> None:
        with pytest.raises(InvalidArgument, match="Tread"):
            codec_for(PLAIN).encode(Tag(1), Tread(Fid(1), -1, 0))

    def test_a_stat_beyond_16_bits_is_refused(self) -> None:
        stat = WireStat(0, 0, Qid(0, 0, 5), 0, 0, 0, 0, "n" * 40_000, "u" * 40_000, "g", "m")
        with pytest.raises(TooLarge, match="does not fit"):
            codec_for(PLAIN).encode_stat(stat)


class TestDirectoryContent:
    @pytest.mark.parametrize("dialect", [PLAIN, UNIX], ids=str)
    def test_stats_come_back_one_by_one(self, dialect: Dialect) -> None:
        codec = codec_for(dialect)
        data = codec.encode_stat(STAT) + codec.encode_stat(KEEP)
        assert list(codec.decode_stats(data)) == [STAT, KEEP]

    @pytest.mark.parametrize("cut", [1, 20])
    def test_a_stat_that_is_cut_off_is_an_error(self, cut: int) -> None:
        codec = codec_for(PLAIN)
        data = codec.encode_stat(STAT)
        with pytest.raises(InvalidArgument):
            list(codec.decode_stats(data + data[:cut]))


class TestFramer:
    def test_gives_frames_as_they_become_complete(self) -> None:
        framer = Framer(100)
        first, second = framed("79 0100"), framed("79 0200 aabb")
        stream = first + second
        framer.feed(stream[:9])
        assert list(framer.frames()) == [first]
        framer.feed(stream[9:])
        assert list(framer.frames()) == [second]
        assert list(framer.frames()) == []

    @pytest.mark.parametrize(("taken", "waiting"), [(0, False), (3, True), (7, False), (9, True)])
    def test_tells_whether_a_part_of_a_message_waits(self, taken: int, waiting: bool) -> None:
        framer = Framer(100)
        framer.feed((framed("79 0100") * 2)[:taken])
        list(framer.frames())
        assert framer.waiting is waiting

    def test_goes_on_where_its_caller_stopped(self) -> None:
        framer = Framer(100)
        frames = [framed(f"79 0{number}00") for number in range(5)]
        framer.feed(b"".join(frames))
        assert next(framer.frames()) == frames[0]
        framer.feed(frames[0])
        assert list(framer.frames()) == [*frames[1:], frames[0]]

    def test_obeys_a_limit_that_changes_between_frames(self) -> None:
        framer = Framer(100)
        big = framed("79 0100" + "00" * 43)
        framer.feed(big + big)
        frames = framer.frames()
        assert next(frames) == big
        framer.limit = 49
        with pytest.raises(ProtocolError, match="50 bytes"):
            next(frames)

    @pytest.mark.parametrize("size", [0, 1, 4, 6, 101, 0xFFFFFFFF])
    def test_refuses_an_impossible_size(self, size: int) -> None:
        framer = Framer(100)
        framer.feed(size.to_bytes(4, "little") + b"\x79\x01\x00")
        with pytest.raises(ProtocolError, match=f"a message of {size} bytes"):
            list(framer.frames())

    def test_takes_a_large_message_byte_by_byte_without_copying_it_each_time(self) -> None:
        framer = Framer(1 << 20)
        big = framed("75 0100" + "00" * ((1 << 20) - 7))
        found: list[bytes] = []
        for at in range(len(big)):
            framer.feed(big[at : at + 1])
            found += framer.frames()
        assert found == [big]
