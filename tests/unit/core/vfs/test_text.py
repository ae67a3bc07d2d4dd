"""Ready-made files with content."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument, ReadOnly, TooLarge
from datakit_core.vfs import BytesHandle, Handle, Kind, MemoryFile, Stat, TextFile


def opened(file: TextFile | MemoryFile) -> Handle:
    handle = file.open()
    assert isinstance(handle, Handle)
    return handle


class TestTextFile:
    def test_reads_parts_and_ends_with_nothing(self) -> None:
        handle = opened(TextFile("a", b"hello"))
        assert [handle.read(0, 2), handle.read(2, 100), handle.read(5, 100)] == [b"he", b"llo", b""]

    def test_refuses_to_read_beyond_the_end(self) -> None:
        with pytest.raises(InvalidArgument, match=r"^Offset 100 beyond end-of-file \(len = 0\)$"):
            opened(TextFile("a", b"")).read(100, 1)

    def test_shows_the_content_as_it_was_at_the_open(self) -> None:
        state = [b"old"]
        file = TextFile("a", lambda: state[0])
        handle = opened(file)
        state[0] = b"newer"
        assert handle.read(0, 10) == b"old"
        assert opened(file).read(0, 10) == b"newer"

    def test_tells_its_length_and_version(self) -> None:
        file = TextFile("a", b"hello", inode=7, version=1)
        assert file.stat() == Stat("a", Kind.FILE, 7, length=5, version=1)

    def test_cannot_be_changed(self) -> None:
        file = TextFile("a", b"hello")
        with pytest.raises(ReadOnly, match=r"^Read-only file$"):
            opened(file).write(0, b"x")
        with pytest.raises(ReadOnly, match=r"^Read-only file$"):
            file.truncate(0)


class TestMemoryFile:
    def test_shows_a_write_to_every_reader_at_once(self) -> None:
        file = MemoryFile("a", b"hello")
        reader, writer = opened(file), opened(file)
        assert writer.write(1, b"i!") == 2
        assert reader.read(0, 10) == b"hi!lo"
        assert file.content == b"hi!lo"

    def test_fills_a_gap_with_zero_bytes(self) -> None:
        file = MemoryFile("a", b"ab")
        opened(file).write(4, b"c")
        assert file.content == b"ab\0\0c"

    @pytest.mark.parametrize(
        ("length", "content"), [(4, b"hell"), (5, b"hello"), (7, b"hello\0\0"), (0, b"")]
    )
    def test_is_truncated_or_extended(self, length: int, content: bytes) -> None:
        file = MemoryFile("a", b"hello")
        file.truncate(length)
        assert (file.content, file.stat()) == (
            content,
            Stat("a", Kind.FILE, file.inode, length),
        )

    def test_refuses_to_grow_beyond_its_limit_before_it_allocates(self) -> None:
        file = MemoryFile("a", b"hello", limit=8)
        for grow in (lambda: file.truncate(1 << 50), lambda: file.write(1 << 40, b"x")):
            with pytest.raises(TooLarge, match="the limit is 8"):
                grow()
        file.write(5, b"123")
        assert file.content == b"hello123"


def test_a_handle_on_bytes_closes_without_ado() -> None:
    BytesHandle(b"").close()
