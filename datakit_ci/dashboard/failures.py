"""Which lines of a log tell of a failure, so that a key leads to the next one.

Such a line is one that people would look for. The rules are about what tools print, not about words
anywhere: ``0 errors`` is none, nor is a test that is named after an error and has passed.
"""

from __future__ import annotations

import re

import re2

__all__ = ["FAILURE", "is_fine", "tells_of_failure"]

_RULES = (
    # CI services, in the log that a tool writes for them
    r"^\s*(?:##\[error\]|::error\b|##vso\[task\.logissue type=error|##teamcity\[testFailed)",
    # compilers and checkers: PLACE: error, also with a code (gcc, clang, mypy, tsc, MSVC)
    r"^\S.*?[:)]\s*(?:fatal |internal |syntax )?error(?:\s+[A-Z]{1,5}[0-9]+)?:",
    # rustc, cargo; git, make and friends
    r"^(?:error(?:\[E[0-9]+\])?|fatal|fatal error|critical|panic|ERROR|FATAL|CRITICAL):",
    # ruff, flake8, pylint: PATH:LINE:COLUMN: CODE
    r"^\S+:[0-9]+:[0-9]+:?\s+[A-Z]{1,4}[0-9]{2,5}\b",
    # pytest and unittest
    r"^(?:FAILED|FAIL|ERROR)(?:\s|:)",
    r"^E   ",
    r"^=+ (?:FAILURES|ERRORS) =+$",
    r"^\S+ (?:FAILED|ERROR)\s*(?:\[\s*[0-9]+%\])?$",
    # Python, Java, JavaScript
    r"^\s*Traceback \(most recent call last\):",
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)(?::|$)",
    r"^Exception in thread ",
    r"^(?:Uncaught|Unhandled) ",
    # Go, Rust
    r"^\s*--- FAIL:",
    r"^panic: ",
    r"^thread '.*' panicked at ",
    r"^test .* \.\.\. FAILED$",
    # TAP, Jest, Mocha
    r"^\s*not ok\b",
    r"^\s*[✕✗✖●] ",
    # make, ninja, npm, Maven, Gradle
    r"^\S*make(?:\[[0-9]+\])?: \*\*\*",
    r"^npm (?:ERR!|error)",
    r"^\[(?:ERROR|FATAL)\]",
    r"^FAILURE:",
    # the shell and the system
    r"^\S*sh: (?:[0-9]+: |line [0-9]+: )?.*(?:not found|[Nn]o such file|[Pp]ermission denied)",
    r"\b(?:Segmentation fault|core dumped|AddressSanitizer:|out of memory|No space left on device)",
    # levels of loggers
    r"\blevel=(?:error|fatal|panic)\b",
    r"^\S{0,40}[0-9][0-9:.,TZ+-]+\S*\s+(?:\[?\S{1,30}\]?\s+)?\[?(?:ERROR|FATAL|CRITICAL)\b",
    # ourselves
    r"^\[datakit-ci\] (?:interrupted|log cut here|killed|lost)",
)

FAILURE = "|".join(f"(?:{rule})" for rule in _RULES)
"""The rules as one expression of RE2, for the text of one line."""

_FINE = re.compile(
    rb"\b(?:0|no) (?:errors?|failures?|failed)\b|\b(?:errors?|failures?|failed)[:=] ?0\b",
    re.IGNORECASE,
)


_FAILS = re2.compile(FAILURE)


def tells_of_failure(line: str) -> bool:
    """Whether a line of text tells of a failure; in time that grows with its length only."""
    text = line.encode(errors="replace")
    return bool(_FAILS.search(text.decode())) and not is_fine(text)


def is_fine(line: bytes) -> bool:
    """Whether a line that speaks of failures says that there are none."""
    return _FINE.search(line) is not None
