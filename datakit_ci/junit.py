"""JUnit files, read as a stream: no file of them can harm us, and none is held whole.

There is no standard; this is what pytest, Surefire, Gradle, go-junit-report, Jest and others write:
``testcase`` elements with ``name``, ``classname`` and ``time``, in which ``failure``, ``error`` or
``skipped`` says what happened, and ``system-out`` what was printed. Surefire's ``flakyFailure`` and
``flakyError`` are of a test that passed when it was tried again.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from typing import Final
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml import DefusedXmlException
from defusedxml.expatreader import create_parser

__all__ = ["BadReport", "Case", "JUnitReader", "Result"]

_MOST_CASES = 50_000
"""Tests of one file; those beyond are counted, not kept."""

_LONGEST_NAME = 1_000
_LONGEST_TEXT = 40_000
"""Characters kept of a name, and of what a test says."""

_MOST_TEXT = 4_000_000
"""Characters kept of what all tests of a file say."""

_DEEPEST = 100
"""Elements within one another."""


class BadReport(Exception):
    """A file is no JUnit file; the text says why, for people."""


class Result(enum.Enum):
    """What came of a test."""

    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    PASSED = "passed"

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to look."""
        return self in (Result.FAILED, Result.ERROR)


@dataclass(frozen=True, slots=True)
class Case:
    """One test.

    Attributes:
        group: The class, module or file that it belongs to; may be empty.
        name: Its own name.
        result: What came of it.
        seconds: How long it took; 0 if that is not said.
        message: In short, what went wrong, or why it was skipped.
        detail: In full, such as a traceback.
        output: What it printed, if it went wrong.
        wavered: Whether it failed at first, and passed when it was tried again.
        file, line: Where the test is, as far as that is said; some tools count lines from 0.
    """

    group: str
    name: str
    result: Result = Result.PASSED
    seconds: float = 0.0
    message: str = ""
    detail: str = ""
    output: str = ""
    wavered: bool = False
    file: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other tests, from one run to the next."""
        return self.group, self.name


_RESULTS: Final = {"failure": Result.FAILED, "error": Result.ERROR, "skipped": Result.SKIPPED}
_OUTPUTS: Final = frozenset({"system-out", "system-err"})
_WAVERED: Final = frozenset({"flakyFailure", "flakyError"})


class JUnitReader:
    """Takes the bytes of one file as they come, and then has its tests.

    Entities and external files are refused, so nothing is expanded and nothing is fetched.
    """

    def __init__(self) -> None:
        self._handler = _Handler()
        self._parser = create_parser(forbid_dtd=False)
        self._parser.setContentHandler(self._handler)

    def feed(self, data: bytes) -> None:
        """Read on; raises ``BadReport``."""
        try:
            self._parser.feed(data)
        except DefusedXmlException as error:
            raise BadReport("it declares entities, which are not read") from error
        except (SAXException, ValueError, LookupError) as error:
            raise BadReport(f"it is no XML: {_brief(error)}") from error

    def close(self) -> tuple[list[Case], int]:
        """The tests, and how many more there are; raises ``BadReport`` if the file is not whole."""
        try:
            self._parser.close()
        except (SAXException, ValueError) as error:
            raise BadReport(f"it is no XML: {_brief(error)}") from error
        if not self._handler.is_report:
            raise BadReport("its root is neither testsuites nor testsuite")
        return self._handler.cases, self._handler.more


def _brief(error: Exception) -> str:
    text = error.getMessage() if isinstance(error, SAXException) else str(error)
    line = getattr(error, "getLineNumber", lambda: None)()
    return f"{text} in line {line}" if line else text


class _Handler(ContentHandler):
    """Collects tests from the events of a parser."""

    def __init__(self) -> None:
        super().__init__()
        self.cases: list[Case] = []
        self.more = 0
        self.is_report = False
        self._depth = 0
        self._room = _MOST_TEXT
        self._case: Case | None = None
        self._suite = ""
        self._what = ""
        self._text: list[str] = []
        self._length = 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 - SAX's name
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadReport("its elements are too deep in one another")
        if self._depth == 1:
            self.is_report = name in ("testsuites", "testsuite")
        if name == "testsuite":
            self._suite = _cut(attrs.get("name", ""))
        elif name == "testcase":
            group = attrs.get("classname") or attrs.get("file") or self._suite
            seconds = _seconds(attrs.get("time", ""))
            self._case = Case(
                _cut(group),
                _cut(attrs.get("name", "")),
                seconds=seconds,
                file=_cut(attrs.get("file", "")),
                line=_line(attrs.get("line", "")),
            )
        elif self._case is not None and (name in _RESULTS or name in _OUTPUTS | _WAVERED):
            self._begin(name, attrs.get("message", ""))

    def _begin(self, name: str, message: str) -> None:
        assert self._case is not None
        self._what, self._length = name, 0
        self._text.clear()
        result = _RESULTS.get(name)
        if result is not None and not self._case.result.is_bad:
            self._case = replace(self._case, result=result, message=message[:_LONGEST_TEXT])
        elif name in _WAVERED:
            self._case = replace(self._case, wavered=True)

    def characters(self, content: str) -> None:
        if self._what and self._length < _LONGEST_TEXT:
            self._text.append(content)
            self._length += len(content)

    def endElement(self, name: str) -> None:  # noqa: N802 - SAX's name
        self._depth -= 1
        if self._case is None:
            return
        if name == self._what:
            self._case = self._with_text(self._case, name)
            self._what = ""
        elif name == "testcase":
            self._keep(self._case)
            self._case = None

    def _with_text(self, case: Case, name: str) -> Case:
        text = "".join(self._text).strip("\n")[:_LONGEST_TEXT]
        if name in _OUTPUTS:
            return replace(case, output="\n".join(each for each in (case.output, text) if each))
        return replace(case, detail=case.detail or text) if name in _RESULTS else case

    def _keep(self, case: Case) -> None:
        if not case.result.is_bad:  # what was printed by thousands of tests that passed is no news
            case = replace(case, output="", detail="" if case.message else case.detail)
        length = len(case.message) + len(case.detail) + len(case.output)
        if length > self._room:
            case, length = replace(case, message=case.message[:200], detail="", output=""), 200
        self._room -= length
        if len(self.cases) < _MOST_CASES:
            self.cases.append(case)
        else:
            self.more += 1


def _cut(name: str) -> str:
    return name[:_LONGEST_NAME]


def _seconds(text: str) -> float:
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def _line(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
