"""Sections of a log: what marks them, how they nest, and that a hostile log makes none too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.marks import MOST_SECTIONS, Section, SectionFinder

PROMPT = b"\x1b]133;A\x07+ "


def sections(log: bytes, step: int = 1 << 16) -> list[Section]:
    finder = SectionFinder()
    for start in range(0, len(log), step):
        finder.feed(log[start : start + step])
    return list(finder.sections)


def test_a_plain_log_has_none() -> None:
    assert sections(b"one\ntwo groups\nthree $ x\n") == []


def test_the_command_of_a_stage_is_the_first_section() -> None:
    log = b"[datakit-ci] started after 3 s of waiting\n$ make\n> make test\nout\n"
    assert sections(log) == [Section(2, None, "make", 0)]


def test_each_traced_command_ends_the_one_before_it() -> None:
    log = b"$ set -x\n" + PROMPT + b"make\nout\nout\n" + PROMPT + b"make test\nout\n"
    assert sections(log) == [
        Section(1, None, "set -x", 0),
        Section(2, 4, "make", 1),
        Section(5, None, "make test", 1),
    ]


def test_a_prompt_within_another_is_one_too_and_the_end_of_a_command_is_an_end() -> None:
    log = b"\x1b\x1b]133;A\x1b\\++ date\nout\n\x1b]133;D;0\x07\nmore\n"
    assert sections(log) == [Section(1, 3, "++ date", 0)]


@pytest.mark.parametrize(
    ("opens", "closes", "title"),
    [
        (b"::group::Install it", b"::endgroup::", "Install it"),
        (b"##[group]Install it", b"##[endgroup]", "Install it"),
        (
            b"\x1b[0Ksection_start:1560896352:install[collapsed=true]\r\x1b[0KInstall it",
            b"\x1b[0Ksection_end:1560896353:install\r\x1b[0K",
            "Install it",
        ),
        (b"section_start:1560896352:install\r\x1b[0K", b"section_end:1:install\r", "install"),
        (b"travis_fold:start:install\r\x1b[0K", b"travis_fold:end:install\r\x1b[0K", "install"),
        (
            b"##teamcity[blockOpened name='Install it' description='x']",
            b"##teamcity[blockClosed name='Install it']",
            "Install it",
        ),
    ],
)
def test_the_marks_of_other_services_are_understood(
    opens: bytes, closes: bytes, title: str
) -> None:
    log = b"before\n" + opens + b"\nwithin\n" + closes + b"\nafter\n"
    assert sections(log) == [Section(2, 4, title, 0)]


def test_groups_nest_and_end_what_is_open_within_them() -> None:
    log = b"::group::a\n::group::b\n" + PROMPT + b"c\n::endgroup::\n::endgroup::\n::endgroup::\n"
    assert sections(log) == [Section(1, 5, "a", 0), Section(2, 4, "b", 1), Section(3, 4, "c", 2)]


def test_a_mark_is_one_only_at_the_beginning_of_a_line() -> None:
    assert sections(b"say ::group::x\n+ not traced\n$ not first\n") == []


def test_a_title_is_text_and_short() -> None:
    (section,) = sections(b"::group::\x1b[31mred\x1b[0m <b>" + b"x" * 9999 + b"\n")
    assert section.title.startswith("red <b>xxx")
    assert len(section.title) == 200


def test_a_log_of_marks_only_takes_bounded_memory() -> None:
    assert len(sections(b"::group::x\n" * (MOST_SECTIONS * 2))) == MOST_SECTIONS


@given(
    st.lists(
        st.sampled_from(
            [
                b"::group::a\n",
                b"::endgroup::\n",
                PROMPT + b"x\n",
                b"out\n",
                b"\n",
                b"\x1b]133;D\x07\n",
            ]
        ),
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_it_does_not_matter_how_the_log_was_cut(lines: list[bytes], step: int) -> None:
    log = b"$ x\n" + b"".join(lines)
    found = sections(log, step)
    assert found == sections(log)
    for section in found:
        assert section.last is None or section.first <= section.last <= len(lines) + 1
