"""The message table."""

from __future__ import annotations

import dataclasses

import pytest

from datakit_core.ninep.linux_messages import LINUX_MESSAGES
from datakit_core.ninep.messages import (
    CLASSIC,
    KEEP,
    Rcreate,
    Record,
    Rerror,
    Ropen,
    Rread,
    Rstat,
    Rwstat,
    Tcreate,
    Topen,
    Tread,
    Tstat,
    Twalk,
    Twstat,
)
from datakit_core.ninep.wire import Fid


def test_every_number_of_9p2000_has_its_message() -> None:
    requests = set(range(100, 128, 2)) - {106}  # there is no Terror
    assert set(CLASSIC) == requests | set(range(101, 129, 2))
    assert all(kind.number == number for number, kind in CLASSIC.items())


def test_9p2000_l_replaces_what_the_kernel_has_other_requests_for() -> None:
    replaced = {Rerror, Topen, Ropen, Tcreate, Rcreate, Tstat, Rstat, Twstat, Rwstat}
    assert set(CLASSIC.values()) - set(LINUX_MESSAGES.values()) == replaced
    assert all(kind.number == number for number, kind in LINUX_MESSAGES.items())


@pytest.mark.parametrize("table", [CLASSIC, LINUX_MESSAGES], ids=["classic", "linux"])
def test_requests_and_replies_are_named_alike(table: dict[int, type[Record]]) -> None:
    for number, kind in table.items():
        assert kind.__name__[0] == ("R" if number % 2 else "T")
        if number % 2 == 0:
            assert table[number + 1].__name__[1:] == kind.__name__[1:]


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Tread(Fid(1), 0, 1).count = 2  # type: ignore[misc]


def test_a_log_line_is_short_and_quotes_names() -> None:
    assert str(Twalk(Fid(1), Fid(2), ("a\nb",))) == r"Twalk(fid=1, newfid=2, names=('a\nb',))"
    assert len(str(Rread(b"x" * 10_000))) < 100
    assert str(Rread(b"x")) == "Rread(data=b'x')"


def test_keep_leaves_everything_alone() -> None:
    assert (KEEP.mode, KEEP.length, KEEP.name) == (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, "")
