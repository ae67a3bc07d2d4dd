"""Pages of a log are bounded, and their lines are numbered as in the whole log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from datakit_ci.dashboard.logpage import MAX_LINES, first_lines, last_lines


async def pieces(log: bytes, length: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(log), length):
        yield log[start : start + length]


async def unfinished(log: bytes) -> AsyncIterator[bytes]:
    """A log whose build still runs: after what there is, nothing comes for a long time."""
    yield log
    await asyncio.Event().wait()


def numbered(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(1, count + 1))


async def test_a_short_log_is_shown_whole() -> None:
    log = numbered(3) + b"and a half"
    window = await last_lines(pieces(log), len(log))
    assert [line.html for line in window.lines] == ["line 1", "line 2", "line 3", "and a half"]
    assert (window.first, window.last, window.end.offset) == (1, 4, len(log) - len(b"and a half"))
    assert window.at_end


async def test_an_empty_log_has_no_lines() -> None:
    window = await last_lines(pieces(b""), 0)
    assert (window.lines, window.first, window.last) == ((), 1, 0)


@pytest.mark.parametrize("length", [7, 1000, 1_000_000])
async def test_of_a_long_log_the_last_lines_are_shown(length: int) -> None:
    log = numbered(MAX_LINES * 3)
    window = await last_lines(pieces(log, length), len(log))
    assert len(window.lines) == MAX_LINES
    assert window.lines[0].number == MAX_LINES * 2 + 1
    assert window.lines[-1].html == f"line {MAX_LINES * 3}"
    assert all(line.html == f"line {line.number}" for line in window.lines)
    assert window.end.offset == len(log)


async def test_colours_set_long_ago_still_hold() -> None:
    log = b"\x1b[31mred from here\n" + numbered(MAX_LINES * 2)
    window = await last_lines(pieces(log), len(log))
    assert window.lines[0].html.startswith('<span class="f1">')


async def test_lines_without_an_end_take_bounded_memory() -> None:
    log = b"x" * 5_000_000 + b"\nend\n"
    window = await last_lines(pieces(log, 50_000), len(log))
    assert len(window.lines[0].html) < 10_000
    assert window.lines[1].html == "end"


async def test_few_but_very_long_lines_are_bounded_too() -> None:
    log = (b"y" * 99_999 + b"\n") * 100
    window = await last_lines(pieces(log, 50_000), len(log))
    assert 1 < len(window.lines) < 100
    assert window.last == 100


async def test_a_log_that_is_still_written_is_not_waited_for() -> None:
    log = numbered(3)
    window = await last_lines(unfinished(log), len(log))
    assert len(window.lines) == 3


async def test_a_log_that_grew_meanwhile_is_shown_up_to_its_size() -> None:
    window = await last_lines(unfinished(numbered(9)), len(numbered(4)))
    assert window.last == 4


async def test_any_part_can_be_asked_for() -> None:
    log = numbered(MAX_LINES * 3)
    window = await first_lines(pieces(log), len(log), 4321)
    assert (window.first, window.last, window.at_end) == (4321, 4320 + MAX_LINES, False)
    assert window.lines[0].html == "line 4321"
    rest = await first_lines(pieces(log), len(log), MAX_LINES * 3 - 9)
    assert (len(rest.lines), rest.at_end) == (10, True)


async def test_a_line_beyond_the_end_shows_nothing() -> None:
    log = numbered(10)
    window = await first_lines(pieces(log), len(log), 99)
    assert window.lines == ()
    assert window.at_end
