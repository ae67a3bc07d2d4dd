"""Lines that tell of a failure, as tools print them, and lines that only seem to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from datakit_ci.dashboard.logsearch import failures, find


async def found(log: str) -> list[int]:
    async def pieces() -> AsyncIterator[bytes]:
        yield log.encode()

    return [line async for part in find(pieces(), failures()) for line in part.lines]


@pytest.mark.parametrize(
    "line",
    [
        "##[error]Process completed with exit code 1.",
        "::error file=a.py,line=1::oops",
        "src/main.c:12:5: error: expected ';' before '}' token",
        "src/main.c:12:5: fatal error: x.h: No such file or directory",
        'a.py:3: error: Incompatible types in assignment  [assignment]',
        "src/a.ts(3,5): error TS2322: Type 'string' is not assignable",
        "error[E0308]: mismatched types",
        "error: could not compile `x` due to previous error",
        "fatal: not a git repository",
        "ERROR: Could not find a version that satisfies the requirement x",
        "src/a.py:1:8: F401 [*] `os` imported but unused",
        "FAILED tests/test_a.py::test_b - assert 1 == 2",
        "ERROR tests/test_a.py - ImportError: x",
        "E       AssertionError: assert 1 == 2",
        "=================================== FAILURES ===================================",
        "tests/test_a.py::test_b FAILED                                           [ 50%]",
        "FAIL: test_b (tests.test_a.A)",
        "Traceback (most recent call last):",
        "ValueError: bad",
        "json.decoder.JSONDecodeError: Expecting value",
        "java.lang.NullPointerException",
        'Exception in thread "main" x',
        "--- FAIL: TestX (0.00s)",
        "panic: runtime error: index out of range",
        "thread 'main' panicked at src/main.rs:2:5:",
        "test tests::it_works ... FAILED",
        "not ok 3 - it works",
        "  ✕ adds numbers (3 ms)",
        "make: *** [Makefile:3: all] Error 2",
        "npm ERR! code ELIFECYCLE",
        "npm error code 1",
        "[ERROR] Failed to execute goal",
        "FAILURE: Build failed with an exception.",
        "/bin/sh: 1: nope: not found",
        "bash: line 3: nope: command not found",
        "Segmentation fault (core dumped)",
        'time="2026-03-04T12:00:00Z" level=error msg="x"',
        "2026-03-04 12:00:00,123 ERROR it broke",
        "[datakit-ci] interrupted: the engine ended before this build did",
        "\x1b[31m\x1b[1mE       assert 1 == 2\x1b[0m",
    ],
)  # fmt: skip
async def test_what_tools_say_when_something_failed(line: str) -> None:
    assert await found(f"fine\n{line}\nfine\n") == [2]


@pytest.mark.parametrize(
    "line",
    [
        "Success: no issues found in 132 source files",
        "src/a.c: error: 0 errors, 0 warnings",
        "tests/test_errors.py::test_error_is_raised PASSED",
        "compiling error_handling.c",
        "ok 4 - fails when it should",
        "Found 0 errors.",
        "test tests::panics ... ok",
        "-- Performing Test HAVE_ERROR - Success",
        "downloading https://example.org/error:log",
        "12:00 see errors below",
    ],
)
async def test_what_only_seems_to(line: str) -> None:
    assert await found(f"fine\n{line}\nfine\n") == []


async def test_lines_that_follow_each_other_are_one_failure() -> None:
    assert await found("E   one\nE   two\nE   three\nfine\nE   four\n") == [1, 5]
