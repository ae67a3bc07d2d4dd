"""Which files of a context ``.dockerignore`` leaves out, as the engine's builder reads it.

Patterns are Go's ``filepath.Match`` and ``**``; one that matches a directory covers all in it;
after ``!`` it takes back; the last that matches counts (docs.docker.com, "Build context").
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

__all__ = ["ignored"]


def ignored(text: str) -> Callable[[str], bool]:
    """Whether a path is left out, by the content of ``.dockerignore``."""
    rules = [_rule(line.strip()) for line in text.splitlines()]
    known = [rule for rule in rules if rule is not None]

    def is_left_out(path: str) -> bool:
        left_out = False
        for pattern, takes_back in known:
            if pattern.fullmatch(path):
                left_out = not takes_back
        return left_out

    return is_left_out


def _rule(line: str) -> tuple[re.Pattern[str], bool] | None:
    if not line or line.startswith("#"):
        return None
    takes_back = line.startswith("!")
    path = posixpath.normpath(line.removeprefix("!").strip()).strip("/")
    if path in ("", "."):
        return None
    return re.compile(f"{_regex(path)}(/.*)?", re.DOTALL), takes_back


def _regex(pattern: str) -> str:
    found, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            part, length = "(.*/)?", 3
        elif rest.startswith("**"):
            part, length = ".*", 2
        elif rest[0] in "*?":
            part, length = ("[^/]*" if rest[0] == "*" else "[^/]"), 1
        elif rest[0] == "\\" and len(rest) > 1:
            part, length = re.escape(rest[1]), 2
        elif match := re.match(r"\[(\^?)([^]\[\\]+)\]", rest):
            part, length = f"[{match[1]}{match[2]}]", match.end()
        else:
            part, length = re.escape(rest[0]), 1
        found, at = found + part, at + length
    return found
