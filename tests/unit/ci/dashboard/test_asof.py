"""Pages of the past: where their links lead, and what is cut out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from datakit_ci.dashboard.asof import AsOf, address_at, keep_moment

AT = "2026-03-04T05:06:07Z"


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("/", f"/?at={AT}"),
        ("/a/b?q=x", f"/a/b?q=x&at={AT}"),
        ("?", f"?at={AT}"),
        ("?from=1#L1", f"?from=1&at={AT}#L1"),
        ("/a/b#end", f"/a/b?at={AT}#end"),
        ("/a?at=2026-01-01", "/a?at=2026-01-01"),
    ],
)
def test_an_address_gets_a_moment_unless_it_has_one(address: str, there: str) -> None:
    assert address_at(address, AT) == there


@pytest.mark.parametrize(
    "html",
    [
        '<a href="#L5">5</a>',
        '<a href="/static/1/app.css">x</a>',
        '<link rel="stylesheet" href="/static/1/app.css">',
        '<a data-now href="/me/app">now</a>',
        '<a href="https://example.org/">x</a>',
        '<a href="//example.org/">x</a>',
        "<p>&lt;a href=&#34;/x&#34;&gt;</p>",
        '<form method="get" data-now><input name="at"></form>',
        '<form method="post" data-always action="/logout"><button>Log out</button></form>',
    ],
)
def test_what_leads_elsewhere_is_left_as_it_is(html: str) -> None:
    assert keep_moment(html, AT) == html


def test_links_and_searches_stay_at_the_moment() -> None:
    assert keep_moment('<a class="x" href="/a?b=1&amp;c=2">', AT) == (
        f'<a class="x" href="/a?b=1&amp;c=2&amp;at={AT}">'
    )
    assert keep_moment('<form method="get" role="search"><b>', AT) == (
        f'<form method="get" role="search"><input type="hidden" name="at" value="{AT}"><b>'
    )


def test_forms_that_change_something_are_cut_out() -> None:
    html = 'a<form class="f" method="post" action="/x">\n<button>Go</button></form>b'
    assert keep_moment(html, AT) == "ab"


def test_the_same_page_can_be_seen_at_another_moment() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert AsOf(moment, "/a?q=1").moved(moment) == f"/a?q=1&at={AT}"
