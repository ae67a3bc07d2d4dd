"""Lists show what is asked for, a page at a time."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.catalogue import entry_of
from datakit_ci.dashboard.listing import Choice, listing, part
from datakit_ci.dashboard.lists import address
from datakit_ci.dashboard.shelf import Shelf
from datakit_ci.dashboard.views import Filter
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import NOW, fill
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(map(entry_of, fill(FakeEngine()).engine.targets()))


def found(shelf: Shelf, kind: str, choice: Choice) -> list[str]:
    return [state.target.path for state in listing(shelf, kind, choice).states]


@pytest.mark.parametrize(
    ("kind", "choice", "shown"),
    [
        ("pr", Choice(), ["acme/shop/pr/318", "acme/storefront/pr/12"]),
        ("pr", Choice(search="FOOTER second"), ["acme/storefront/pr/12"]),
        ("pr", Choice(project="acme/shop"), ["acme/shop/pr/318"]),
        ("pr", Choice(author="Second Author"), ["acme/storefront/pr/12"]),
        ("pr", Choice(author="Second"), []),
        ("heads", Choice(Filter.FAILING, project="acme/shop"), ["acme/shop/ref/heads/rounding"]),
        ("tags", Choice(), ["acme/shop/ref/tags/v2.4.0"]),
    ],
)
def test_all_that_is_asked_for_has_to_hold(
    shelf: Shelf, kind: str, choice: Choice, shown: list[str]
) -> None:
    assert found(shelf, kind, choice) == shown


def test_counts_are_of_what_is_searched_and_choices_of_all(shelf: Shelf) -> None:
    view = listing(shelf, "heads", Choice(Filter.FAILING, project="acme/shop"))
    assert view.counts == {
        Filter.ALL: 2, Filter.FAILING: 1, Filter.RUNNING: 0, Filter.PASSING: 1,
    }  # fmt: skip
    assert view.projects == ("acme/shop", "acme/storefront")
    assert view.authors == ("First Author", "Fourth Author", "Second Author", "Third Author")
    assert view.total == 4


def test_the_second_page_goes_on_where_the_first_ended() -> None:
    states = [
        TargetState(Target("me/app", "pr", str(n)), updated=NOW - timedelta(minutes=n))
        for n in range(120)
    ]
    shelf = Shelf(entry_of(state) for state in reversed(states))
    names = [found(shelf, "pr", Choice(number=number)) for number in (1, 2, 3)]
    assert [len(page) for page in names] == [50, 50, 20]
    assert list(chain(*names)) == [state.target.path for state in states]


@given(st.lists(st.integers(), max_size=40), st.integers(-5, 50), st.integers(1, 9))
def test_a_part_is_never_beside_the_list(items: list[int], number: int, size: int) -> None:
    shown, where = part(items, number, size)
    assert 1 <= where.number <= where.pages
    assert bool(shown) == bool(items)
    assert list(shown) == items[where.first - 1 if shown else 0 : where.last]
    assert where.total == len(items)


def test_an_address_says_only_what_is_not_usual() -> None:
    choice = Choice(Filter.FAILING, "a b", author="Zoë", number=3)
    assert address(choice) == "?state=failing&q=a+b&author=Zo%C3%AB"
    assert address(choice, page=2, state="") == "?q=a+b&author=Zo%C3%AB&page=2"
    assert address(Choice()) == "?"
