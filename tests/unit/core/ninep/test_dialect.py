"""Which dialect a client gets."""

from __future__ import annotations

import pytest

from datakit_core.errors import NoEntry
from datakit_core.ninep.dialect import PLAIN, UNIX, Dialect, negotiate
from datakit_core.ninep.messages import Rerror


@pytest.mark.parametrize(
    ("version", "dialect"),
    [
        ("9P2000", PLAIN),
        ("9P2000.u", UNIX),
        ("9P2000.x", PLAIN),
        ("9P", PLAIN),
        ("9p2000", None),
        ("unknown", None),
        ("", None),
        ("x" * 65535, None),
    ],
)
def test_a_version_is_answered_by_the_nearest_dialect(
    version: str, dialect: Dialect | None
) -> None:
    assert negotiate(version) is dialect


def test_errors_have_the_text_that_clients_compare_and_a_true_number() -> None:
    assert UNIX.error(NoEntry()) == Rerror("No such file or directory", 2)
