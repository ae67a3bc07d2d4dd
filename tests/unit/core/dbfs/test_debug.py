"""Log levels as files."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from datakit_core.errors import InvalidArgument, NoEntry
from tests.support.files import Files, value_of

LOGGER = logging.getLogger("datakit_core.tests")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    yield
    LOGGER.setLevel(logging.NOTSET)


async def test_a_level_is_read_and_written_as_a_word(files: Files) -> None:
    path = "debug/src/datakit_core.tests/level"
    for word in ("quiet", "app", "error", "warning", "info", "debug"):
        await files.write(path, word.encode())
        assert await files.read(path) == f"{word}\n".encode()
        assert (await files.stat(path)).length == len(word) + 1
        assert LOGGER.isEnabledFor(logging.INFO) is (word in ("info", "debug"))
    await files.write(path, b"quiet\n")
    assert not LOGGER.isEnabledFor(logging.CRITICAL)


async def test_an_unknown_level_is_refused(files: Files) -> None:
    handle = await files.open("debug/src/datakit_core.tests/level")
    with pytest.raises(InvalidArgument, match=r"loud.*quiet app error warning info debug"):
        await value_of(handle.write(0, b"loud"))


async def test_only_our_loggers_are_shown(files: Files) -> None:
    logging.getLogger("elsewhere")
    names = await files.list("debug/src")
    assert "datakit_core.tests" in names
    assert "elsewhere" not in names
    for name in ("elsewhere", "datakit_core.no.such"):
        with pytest.raises(NoEntry):
            await files.node(f"debug/src/{name}")


async def test_doc_says_what_can_be_written(files: Files) -> None:
    assert await files.list("debug/src/datakit_core.tests") == ["doc", "level"]
    assert b"datakit_core.tests" in await files.read("debug/src/datakit_core.tests/doc")
