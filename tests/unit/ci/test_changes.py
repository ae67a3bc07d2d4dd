"""Changes of targets: everything first, then what changed, told once however often it did."""

from __future__ import annotations

import asyncio

from datakit_ci.changes import Changes
from datakit_ci.target import Target

ONE = Target("me/app", "heads", "one")
TWO = Target("me/app", "heads", "two")


async def test_a_listener_hears_of_everything_first() -> None:
    listening = Changes(lambda: [ONE, TWO]).listen()
    assert await anext(listening) == {ONE, TWO}


async def test_several_changes_are_told_as_one() -> None:
    changes = Changes(list)
    listening = changes.listen()
    assert await anext(listening) == frozenset()
    changes.tell(ONE)
    changes.tell(TWO)
    changes.tell(ONE)
    assert await anext(listening) == {ONE, TWO}
    changes.tell(TWO)
    assert await anext(listening) == {TWO}


async def test_a_listener_waits_for_a_change() -> None:
    changes = Changes(list)
    listening = changes.listen()
    await anext(listening)
    async with asyncio.TaskGroup() as group:
        told = group.create_task(anext(listening, frozenset()))
        await asyncio.sleep(0)
        assert not told.done()
        changes.tell(ONE)
    assert told.result() == {ONE}


async def test_listeners_do_not_disturb_one_another() -> None:
    changes = Changes(list)
    slow, fast = changes.listen(), changes.listen()
    await anext(slow)
    await anext(fast)
    changes.tell(ONE)
    assert await anext(fast) == {ONE}
    changes.tell(TWO)
    assert await anext(fast) == {TWO}
    assert await anext(slow) == {ONE, TWO}
