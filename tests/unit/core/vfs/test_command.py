"""Command files."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument
from datakit_core.vfs import Answer, CommandFile, Deferred, Handle, Kind, Stat


def shout(text: str) -> bytes:
    if not text:
        raise InvalidArgument('Unknown command ""')
    return text.upper().encode() + b"\n"


def opened(file: CommandFile) -> Handle:
    handle = file.open()
    assert isinstance(handle, Handle)
    return handle


def test_a_write_is_a_command_and_white_space_around_it_does_not_count() -> None:
    given: list[str] = []

    def run(text: str) -> bytes:
        given.append(text)
        return b""

    assert opened(CommandFile("ctl", run)).write(0, b" commit now\n") == 12
    assert given == ["commit now"]


def test_the_result_is_read_by_any_handle_and_consumed() -> None:
    file = CommandFile("ctl", shout)
    writer, reader = opened(file), opened(file)
    writer.write(0, b"hey")
    assert file.stat() == Stat("ctl", Kind.FILE, file.inode, length=4)
    assert [reader.read(0, 2), writer.read(3, 9), reader.read(2, 9)] == [b"HE", b"Y\n", b""]
    assert file.stat() == Stat("ctl", Kind.FILE, file.inode, length=0)


def test_reads_and_writes_share_the_offsets_of_a_handle() -> None:
    handle = opened(CommandFile("ctl", shout))
    handle.write(0, b"hey")
    for seek in (lambda: handle.read(0, 9), lambda: handle.write(0, b"again")):
        with pytest.raises(InvalidArgument, match=r"^Attempt to seek in stream$"):
            seek()
    assert handle.read(3, 9) == b"HEY\n"
    assert handle.write(7, b"you") == 3


def test_a_read_starts_at_zero() -> None:
    with pytest.raises(InvalidArgument, match=r"^Attempt to seek in stream$"):
        opened(CommandFile("ctl", shout)).read(1, 9)


def test_appending_after_an_unread_result_works() -> None:
    file = CommandFile("ctl", shout)
    opened(file).write(0, b"hey")
    handle = opened(file)
    assert handle.write(4, b"you") == 3
    assert handle.read(7, 9) == b"YOU\n"


@pytest.mark.parametrize("offset", [0, 2])
def test_after_a_failed_command_the_next_begins_at_either_of_its_ends(offset: int) -> None:
    handle = opened(CommandFile("ctl", shout))
    with pytest.raises(InvalidArgument, match=r'^Unknown command ""$'):
        handle.write(0, b" \n")
    assert handle.write(offset, b"hey") == 3
    with pytest.raises(InvalidArgument, match=r"^Attempt to seek in stream$"):
        handle.write(offset, b"you")
    assert handle.read(offset + 3, 9) == b"HEY\n"


def test_a_failed_command_leaves_the_older_result() -> None:
    file = CommandFile("ctl", shout)
    opened(file).write(0, b"hey")
    with pytest.raises(InvalidArgument, match=r'^Unknown command ""$'):
        opened(file).write(0, b" \n")
    assert opened(file).read(0, 9) == b"HEY\n"


def test_a_command_that_takes_time_shows_its_result_when_it_is_done() -> None:
    pending: Deferred[bytes] = Deferred()

    def run(text: str) -> Answer[bytes]:
        return pending

    file = CommandFile("ctl", run)
    answer = opened(file).write(0, b"commit")
    assert isinstance(answer, Deferred)
    assert opened(file).read(0, 9) == b""
    pending.resolve(b"ok")
    assert answer.result() == 6
    assert opened(file).read(0, 9) == b"ok"


def test_it_can_be_truncated_only_to_nothing() -> None:
    file = CommandFile("ctl", shout)
    assert file.truncate(0) is None
    with pytest.raises(InvalidArgument, match=r"^Can't extend command file$"):
        file.truncate(1)
