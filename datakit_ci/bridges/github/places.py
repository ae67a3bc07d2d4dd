"""Where in the source a failed test has failed, as far as its report says so: pure.

JUnit files name no such place, or only that of the test; but what a test said when it failed does,
in the form of its language. What is found is a guess until somebody has looked whether there is
such a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from datakit_ci.junit import Case

__all__ = ["Place", "beginnings", "places"]

Place = tuple[str, int]
"""A path, as it was written, and a line, from 1."""

_MOST = 20
"""Places that are named for one test."""

_DEEPEST = 12
"""Directories that are left out before a path is taken for one of elsewhere."""

_ELSEWHERE = frozenset({"site-packages", "dist-packages", "node_modules", "usr"})
"""Directories of what is not ours."""

_PATH = r"(?P<path>[^\s:()\"'<>]{1,300}\.\w{1,10})"
_LINE = r"(?P<line>[1-9]\d{0,6})"

_INNERMOST_LAST = (
    re.compile(rf"^{_PATH}:{_LINE}(?::| |$)", re.MULTILINE),  # pytest
    re.compile(rf'^\s*File "(?P<path>[^"\n]{{1,300}})", line {_LINE}', re.MULTILINE),  # Python
)
_INNERMOST_FIRST = (
    re.compile(rf"\({_PATH}:{_LINE}(?::\d+)?\)"),  # JavaScript, Java
    re.compile(rf"(?:^|\s|@){_PATH}:{_LINE}(?::\d+)?(?=[:\s,]|$)", re.MULTILINE),  # Go, Rust, C
)


def places(case: Case) -> Iterator[Place]:
    """Where a test has failed, the likeliest place first; each once."""
    return islice(dict.fromkeys(_places(case)), _MOST)


def _places(case: Case) -> Iterator[Place]:
    text = case.detail or case.message
    for pattern in _INNERMOST_LAST:
        yield from reversed([_place(match) for match in pattern.finditer(text)])
    for pattern in _INNERMOST_FIRST:
        yield from map(_place, pattern.finditer(text))
    if case.file:
        yield case.file, max(1, case.line)


def _place(match: re.Match[str]) -> Place:
    return match["path"], int(match["line"])


def beginnings(path: str) -> Iterator[str]:
    """What ``path`` may be called in the repository: a build has its own copy somewhere.

    So ``/tmp/build-7/src/a.py`` may be ``src/a.py``; the longest comes first. A name without any
    directory is too common to be taken out of an absolute path, and libraries are elsewhere.
    """
    steps = [step for step in path.replace("\\", "/").split("/") if step not in ("", ".")]
    if ".." in steps or _ELSEWHERE.intersection(steps):
        return
    is_absolute = path.startswith(("/", "\\")) or path[1:2] == ":"
    for start in range(min(len(steps) - is_absolute, _DEEPEST)):
        yield "/".join(steps[start:])
