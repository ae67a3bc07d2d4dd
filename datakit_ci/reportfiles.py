"""Reading the JUnit files that a build has left: many, large, broken, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from datakit_ci.archive import Objects
from datakit_ci.junit import BadReport, Case, JUnitReader, Result
from datakit_ci.testreport import Problem, TestReport
from datakit_core.client.api import BlobId, Entry, TreeId
from datakit_core.errors import DatakitError

__all__ = ["read_report"]

_MOST_FILES = 500
_MOST_BYTES = 64 << 20
"""Of the reports of one build; what is beyond is told of, and not read."""

_SLICE = 64 << 10
"""Bytes parsed before others get their turn on the loop: some milliseconds."""


async def read_report(objects: Objects, tree: TreeId) -> TestReport:
    """The report in a tree of JUnit files; what is broken is told in it."""
    cases: list[Case] = []
    problems: list[Problem] = []
    more, left, files = 0, _MOST_BYTES, 0
    async for path, entry in _files(objects, tree):
        files += 1
        try:
            left -= await objects.blob_size(BlobId(entry.id))
            _check(files, left)
            found, further = await _parse(objects, BlobId(entry.id))
        except (BadReport, DatakitError) as error:
            problems.append(Problem(path, str(error)))
            if files > _MOST_FILES:
                break
            continue
        cases += found
        more += further
    order = {result: number for number, result in enumerate((Result.FAILED, Result.ERROR))}
    cases.sort(key=lambda case: order.get(case.result, 2))
    return TestReport(tuple(cases), tuple(problems), more)


def _check(files: int, left: int) -> None:
    if files > _MOST_FILES or left < 0:
        raise BadReport("the reports are too many, or too large, to be read")


async def _files(objects: Objects, tree: TreeId) -> AsyncIterator[tuple[str, Entry]]:
    left = [("", tree)]
    while left:
        above, tree = left.pop()
        for name, entry in (await objects.tree(tree)).items():
            if entry.is_directory:
                left.append((f"{above}{name}/", TreeId(entry.id)))
            elif entry.mode.is_file:
                yield f"{above}{name}", entry


async def _parse(objects: Objects, blob: BlobId) -> tuple[list[Case], int]:
    reader = JUnitReader()
    pieces = cast("AsyncGenerator[bytes, None]", objects.stream_blob(blob))
    async with aclosing(pieces):
        async for piece in pieces:
            for start in range(0, len(piece), _SLICE):
                reader.feed(piece[start : start + _SLICE])
                await asyncio.sleep(0)
    return reader.close()
