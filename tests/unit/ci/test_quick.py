"""What is read of a command line without typer, and what is left to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.cli.quick import quick
from datakit_ci.localrun import Wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("run p.py --once", Wanted(Path("p.py"))),
        ("run --once --verbose p.py", Wanted(Path("p.py"), verbose=True)),
        ("run p.py --once --committed", Wanted(Path("p.py"), is_committed=True)),
        ("run p.py --target heads/x --once", Wanted(Path("p.py"), "heads/x")),
        ("run p.py --dry-run", Wanted(Path("p.py"), is_dry=True)),
        ("run p.py --dry-run --json", Wanted(Path("p.py"), is_dry=True, as_json=True)),
        ("run p.py --once --json", None),
        ("run p.py", None),
        ("run p.py q.py --once", None),
        ("run p.py --once --target", None),
        ("run p.py --once --target --verbose", None),
        ("run p.py --once --target=heads/x", None),
        ("run p.py --once --nonsense", None),
        ("run --help", None),
        ("check p.py --once", None),
        ("", None),
    ],
)
def test_only_what_is_spelled_in_full_is_read(line: str, wanted: Wanted | None) -> None:
    assert quick(line.split()) == wanted
