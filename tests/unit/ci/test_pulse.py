"""A pulse: who waits is woken, and a change between looking and waiting is not missed."""

from __future__ import annotations

import asyncio

from datakit_ci.pulse import Pulse


async def test_everybody_who_waits_is_woken() -> None:
    pulse = Pulse()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(pulse.next.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        pulse.beat()
    assert all(task.result() for task in waiting)


async def test_a_change_before_the_wait_is_not_missed() -> None:
    pulse = Pulse()
    change = pulse.next
    pulse.beat()
    await change.wait()


async def test_a_change_is_told_once() -> None:
    pulse = Pulse()
    pulse.beat()
    assert not pulse.next.is_set()
