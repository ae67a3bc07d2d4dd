"""The catcher of blocking calls itself: a list that rots catches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from blockbuster import BlockingError

from datakit_core.client.scan import Found, read_target
from datakit_core.store import FileMode
from tests.support.blocking import INLINE

CHECKOUT = Path(__file__).parents[2]


async def test_a_call_of_ours_that_blocks_the_loop_raises(
    tmp_path: Path, nonblocking: None
) -> None:
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(BlockingError):
        read_target(tmp_path, Found("link", FileMode.LINK))


@pytest.mark.parametrize(("file", "functions", "reason"), INLINE)
def test_every_exception_is_of_code_that_there_is(
    file: str, functions: tuple[str, ...], reason: str
) -> None:
    assert reason
    if file.startswith("datakit_"):
        text = (CHECKOUT / file).read_text()
        for function in functions:
            assert re.search(rf"\bdef {function}\(", text), function
