"""Logs become what a terminal would show, as HTML that is safe, from any line on."""

from __future__ import annotations

import pytest

from datakit_ci.dashboard.ansi import START, Cursor, LogRenderer
from datakit_ci.dashboard.palette import nearest
from datakit_ci.dashboard.sgr import Style


def html(log: bytes) -> list[str]:
    renderer = LogRenderer()
    lines = [line.html for line in renderer.feed(log)]
    rest = renderer.partial()
    return lines if rest is None else [*lines, rest.html]


def test_plain_lines_are_numbered_from_one() -> None:
    lines = LogRenderer().feed(b"one\n\nthree\n")
    assert [(line.number, line.html) for line in lines] == [(1, "one"), (2, ""), (3, "three")]


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (b"<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        (b"\x1b[31m<img onerror=x>\x1b[0m", '<span class="f1">&lt;img onerror=x&gt;</span>'),
        (b"10%\r50%\r100%", "100%"),
        (b"collecting ...\rdone", "doneecting ..."),
        (b"collecting ...\r\x1b[Kdone", "done"),
        (b"abc\b\bX", "aXc"),
        (b"windows\r", "windows"),
        (b"abc\x1b[2K|", "   |"),
        (b"abc\x1b[1Kd", "   d"),
        (b"a\x1b[3Cb", "a   b"),
        (b"abcdef\x1b[3Gx\x1b[2Dy", "ayxdef"),
        (b"a\x1b[Hb\x1b[2Jc\x1b[10;3Hd", "abcd"),
        (b"bell\x07 form\x0c nul\x00", "bell form nul"),
        (b"a\tb", "a\tb"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        (b"\x1b(Bascii \x1b7saved\x1bc", "ascii saved"),
        ("c1 \x9b31mred".encode(), 'c1 <span class="f1">red</span>'),
        ("over\u202eride".encode(), "over\\u202eride"),
        ("\u4f60\u597d \u00e9".encode(), "\u4f60\u597d \u00e9"),
        (b"broken \xff\xfe utf-8", "broken \ufffd\ufffd utf-8"),
        (b"\x1b[\x01odd", "[odd"),
        (b"\x1b[1;31", ""),
        ("\x9b\x9b1mbold \x90string\x9c end \x9d".encode(), '<span class="bold">bold  end </span>'),
    ],
)
def test_a_line_reads_as_on_a_terminal(log: bytes, shown: str) -> None:
    assert html(log + b"\n") == [shown]


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("1", "bold"),
        ("2;3;4;9", "dim italic underline strike"),
        ("31", "f1"),
        ("91", "f9"),
        ("31;42", "dark b2"),
        ("103", "dark b11"),
        ("37;40", "on f7 b0"),
        ("97;44", "dark b4"),
        ("38;5;141", "f141"),
        ("48;5;0", "light b0"),
        ("38;2;255;0;0", f"f{nearest(255, 0, 0)}"),
        ("38:5:141", "f141"),
        ("38:2:255:0:0", f"f{nearest(255, 0, 0)}"),
        ("38:2::255:0:0", f"f{nearest(255, 0, 0)}"),
        ("4:3", "underline"),
        ("4;4:0", ""),
        ("1" + ";" * 200 + "31", ""),
        ("7", "inverse"),
        ("7;31", "dark b1"),
        ("7;41", "dark b7"),
        ("1;22;31;39;4;24;44;49", ""),
        ("31;0", ""),
        ("31;", ""),
        ("38;5;999", ""),
        ("38;2;1;2", ""),
        ("38;9;31", "f1"),
        ("38", ""),
        ("99999999999999999999;1", "bold"),
        ("73", ""),
    ],
)
def test_colours_become_classes(codes: str, classes: str) -> None:
    expected = f'<span class="{classes}">x</span>' if classes else "x"
    assert html(f"\x1b[{codes}mx\x1b[0m\n".encode()) == [expected]


def test_a_colour_lasts_over_lines_until_it_is_reset() -> None:
    assert html(b"\x1b[31mone\ntwo\x1b[m\nthree\n") == [
        '<span class="f1">one</span>',
        '<span class="f1">two</span>',
        "three",
    ]


def test_text_between_two_colours_keeps_its_own() -> None:
    assert html(b"a\x1b[1mb\x1b[22mc\n") == ['a<span class="bold">b</span>c']


def test_an_unfinished_line_is_shown_and_then_goes_on() -> None:
    renderer = LogRenderer()
    assert renderer.partial() is None
    assert renderer.feed(b"50%") == []
    partial = renderer.partial()
    assert partial is not None
    assert (partial.number, partial.html) == (1, "50%")
    assert [line.html for line in renderer.feed(b"\r100%\nnext\n")] == ["100%", "next"]
    assert renderer.partial() is None


def test_a_sequence_or_character_may_be_cut_in_two() -> None:
    renderer = LogRenderer()
    log = "\x1b[38;5;200m\u4f60\x1b]0;t\x1b\\!\n".encode()
    lines = [line for octet in log for line in renderer.feed(bytes([octet]))]
    assert [line.html for line in lines] == ['<span class="f200">\u4f60!</span>']


def test_an_endless_sequence_does_not_swallow_what_follows() -> None:
    shown = html(b"\x1b]0;" + b"x" * 10_000 + b"\n")[0]
    assert shown.startswith("]0;xxx")


def test_many_openings_without_an_end_take_no_time() -> None:
    assert html(b"\x1b]" * 20_000 + b"\n")[0].startswith("]]]")


def test_an_overlong_line_is_cut_and_says_so() -> None:
    shown = html(b"x" * 100_000 + b"\nnext\n")
    assert shown[0].count("x") == 8192
    assert "cut here" in shown[0]
    assert shown[1] == "next"


def test_an_endless_progress_bar_takes_no_memory_and_is_not_cut() -> None:
    renderer = LogRenderer()
    for percent in range(20_000):
        renderer.feed(b"\rstill at it: %d" % percent)
    partial = renderer.partial()
    assert partial is not None
    assert partial.html == "still at it: 19999"


def test_the_cursor_moves_to_the_start_of_the_unfinished_line() -> None:
    renderer = LogRenderer()
    renderer.feed(b"one\n\x1b[1;31mtwo\nthr")
    assert renderer.cursor == Cursor(15, 3, Style(fg=1, bold=True))
    assert str(renderer.cursor) == "15.3.1;38;5;1"


def test_rendering_goes_on_from_a_cursor_as_if_it_had_never_stopped() -> None:
    log = b"one\n\x1b[1;4;48;5;12mtwo\nthr\x1b[22mee\nfour\n"
    whole = LogRenderer().feed(log)
    for cut in range(len(log) + 1):
        first = LogRenderer()
        lines = first.feed(log[:cut])
        cursor = Cursor.parse(str(first.cursor))
        assert lines + LogRenderer(cursor).feed(log[cursor.offset :]) == whole


def test_what_is_skipped_still_counts_and_colours() -> None:
    log = b"one\n\x1b[31mtwo\nthree\nfour\n"
    whole = LogRenderer().feed(log)
    for cut in range(len(log) + 1):
        renderer = LogRenderer()
        renderer.skip(log[:cut])
        lines = renderer.feed(log[cut:])
        assert lines == whole[len(whole) - len(lines) :]


def test_skipping_may_begin_within_a_line() -> None:
    renderer = LogRenderer()
    renderer.feed(b"on")
    renderer.skip(b"e\ntwo\nthr")
    assert [(line.number, line.html) for line in renderer.feed(b"ee\n")] == [(3, "three")]


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "a.1.", "1.0.", "-1.1.", "1.1.<", "1.1.1m", "9" * 16 + ".1.",
     "1.1." + "1" * 65, "1.1.1\n", "\u0661.1."],
)  # fmt: skip
def test_a_cursor_from_outside_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match=r"OFFSET\.LINE\.STYLE"):
        Cursor.parse(text)


def test_the_first_cursor_is_the_start_of_the_log() -> None:
    assert Cursor.parse("0.1.") == START
