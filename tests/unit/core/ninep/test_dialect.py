"""Which dialect a client gets."""

from __future__ import annotations

import pytest

from datakit_core.errors import FileError, NoEntry
from datakit_core.ninep.dialect import LINUX, PLAIN, UNIX, Dialect, negotiate
from datakit_core.ninep.linux_messages import Rlerror
from datakit_core.ninep.messages import Rerror


@pytest.mark.parametrize(
    ("version", "dialect"),
    [
        ("9P2000", PLAIN),
        ("9P2000.u", UNIX),
        ("9P2000.L", LINUX),
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
    assert LINUX.error(NoEntry()) == Rlerror(2)


def test_no_error_of_linux_has_the_number_of_success() -> None:
    class Strange(FileError):
        errno = 0

    assert LINUX.error(Strange()) == Rlerror(5)
