"""The command line that is typed all day, without the library that reads all others.

Importing what reads command lines takes longer than finding 200 results. So ``run`` with options
that are spelled in full is read here; whatever else is there is left to it, errors included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from datakit_ci.localrun import Wanted

__all__ = ["quick"]

_FLAGS = ("--once", "--committed", "--verbose", "--dry-run", "--json")


def quick(arguments: Sequence[str]) -> Wanted | None:
    """What ``run`` is asked for; none if that is not as plain as it can be."""
    if arguments[:1] != ["run"]:
        return None
    flags: set[str] = set()
    files: list[str] = []
    target = ""
    rest = list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word in _FLAGS:
            flags.add(word)
        elif word == "--target" and rest and not rest[0].startswith("-"):
            target = rest.pop(0)
        elif word.startswith("-"):
            return None
        else:
            files.append(word)
    if len(files) != 1 or not flags & {"--once", "--dry-run"}:
        return None
    if "--json" in flags and "--dry-run" not in flags:
        return None
    from datakit_ci.localrun import Wanted

    pipeline = Path(files[0])
    return Wanted(
        pipeline,
        target,
        is_committed="--committed" in flags,
        verbose="--verbose" in flags,
        is_dry="--dry-run" in flags,
        as_json="--json" in flags,
    )
