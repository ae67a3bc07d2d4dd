"""What pages on trees are made of: order, kinds, parts of texts, safe names, harmless Markdown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest

from datakit_ci.dashboard.files import PAGE, FileKind, kind_of, listing
from datakit_ci.dashboard.markdown import render_markdown
from datakit_ci.dashboard.sending import disposition
from datakit_ci.dashboard.textfile import LONGEST_LINE, MAX_LINES, read_text
from datakit_ci.dashboard.zipping import safe_name
from datakit_core.client.api import Entry, FileMode, ObjectId


class _Attributes(HTMLParser):
    """Collects the names of all attributes."""

    @classmethod
    def of(cls, html: str) -> set[str]:
        reader = cls()
        reader.names = set[str]()
        reader.feed(html)
        return reader.names

    names: set[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.update(name for name, _ in attrs)


def entry(mode: FileMode = FileMode.NORMAL) -> Entry:
    return Entry(mode, ObjectId("0" * 40))


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


def test_directories_come_first_and_pages_end_somewhere() -> None:
    tree = {"a": entry(), "b": entry(FileMode.DIRECTORY), "c": entry()}
    assert [name for name, _ in listing(tree).entries] == ["b", "a", "c"]
    many = {f"{number:04}": entry() for number in range(PAGE + 1)}
    assert listing(many).pages == 2
    assert listing(many, 2).first == listing(many, 9).last == PAGE + 1
    assert listing({}).pages == 1
    assert listing({}).first == listing({}).last == 0
    assert [name for name, _ in listing(tree, search="C").entries] == ["c"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("README.MD", FileKind.MARKDOWN),
        ("a.htm", FileKind.HTML),
        ("x.svg", FileKind.IMAGE),
        ("Makefile", FileKind.TEXT),
        ("a.png.txt", FileKind.TEXT),
    ],
)
def test_a_name_says_how_a_file_is_shown(name: str, kind: FileKind) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_are_the_same_however_the_file_comes(size: int) -> None:
    content = b"one\r\ntwo\n\nfour\nfive"
    cut = [content[start : start + size] for start in range(0, len(content), size)]
    for first in range(1, 8):
        window = await read_text(pieces(*cut), first)
        assert window is not None
        assert window.lines == ("one", "two", "", "four", "five")[first - 1 :]
        assert not window.more
        assert window.first == first


async def test_text_is_bounded_in_lines_and_in_width() -> None:
    window = await read_text(pieces(b"x\n" * (MAX_LINES + 5)))
    assert window is not None
    assert (window.last, window.more) == (MAX_LINES, True)
    rest = await read_text(pieces(b"x\n" * (MAX_LINES + 5)), window.last + 1)
    assert rest is not None
    assert (len(rest.lines), rest.more) == (5, False)
    wide = await read_text(pieces(*[b"x" * 65536] * 40))
    assert wide is not None
    assert len(wide.lines) == 1
    assert len(wide.lines[0]) == LONGEST_LINE + 1


async def test_what_has_a_nul_is_no_text() -> None:
    assert await read_text(pieces(b"ELF\0")) is None
    empty = await read_text(pieces())
    assert empty is not None
    assert empty.lines == ()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plain.txt", "plain.txt"),
        ("..", "__"),
        (".", "_"),
        ("a\\b:c", "a_b_c"),
        ("\udcff\n", "__"),
        ("\u00e9\u202e", "\u00e9\u202e"),
        ("", "_"),
    ],
)
def test_a_name_in_a_zip_leads_nowhere_else(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_header_cannot_be_broken_by_a_name() -> None:
    header = disposition('a"\r\nX: 1\udcff\u00e9/../b')
    assert "\r" not in header
    assert "\n" not in header
    assert header.isascii()
    assert header.count('"') == 2


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](vbscript:x) [y](data:text/html;base64,xx) [z](file:///etc/passwd)",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="x" onclick="alert(1)" style="x">x</a>',
        "![x](javascript:alert(1))",
        "![x](https://example.org/x.png)",
        "<javascript:alert(1)>",
        '[x](<x" onmouseover="alert(1)>)',
        "<form><input><button>",
        "| a |\n|:-:|\n| 1 |",
        '```x" onload="y\n<script>\n```',
    ],
)
def test_markdown_makes_nothing_that_does_something(text: str) -> None:
    html = str(render_markdown(text, "/root")).lower()
    for bad in ("<script", "<form", "<input", "<button", "<style"):
        assert bad not in html
    assert not _Attributes.of(html) - {"href", "title", "rel", "src", "alt", "start"}
    for scheme in ("javascript:", "vbscript:", "data:", "file:"):
        assert f'href="{scheme}' not in html
        assert f'src="{scheme}' not in html


def test_links_in_markdown_stay_in_the_tree() -> None:
    html = render_markdown("[a](b/c.md#d) [r](/top.md) ![p](q.png) [w](//w.org)", "/b/output")
    assert 'href="b/c.md#d"' in html
    assert 'href="/b/output/top.md"' in html
    assert 'src="q.png?raw"' in html
    assert 'href="//w.org"' in html
    assert "noopener" in html
