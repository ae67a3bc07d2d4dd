"""The page of pools says who has what, and for whom."""

from __future__ import annotations

from dataclasses import replace

from datakit_ci.dashboard.catalogue import entry_of
from datakit_ci.dashboard.pooling import rows, users
from datakit_ci.pools import PoolState
from datakit_ci.target import Target
from tests.support.ci_scene import build_id, fill
from tests.support.fake_engine import FakeEngine


def test_a_build_is_for_all_targets_that_show_it() -> None:
    scene = fill(FakeEngine())
    other = replace(scene.busy, target=Target("acme/shop", "heads", "other"))
    known = users(map(entry_of, [scene.busy, other, scene.green]))
    assert known[scene.live].label == "browser"
    assert known[scene.live].targets == (scene.busy.target, other.target)
    assert scene.failed not in known


def test_pools_in_use_come_first_and_long_queues_are_counted() -> None:
    queue = tuple(build_id("me/app", f"s{number}") for number in range(130))
    pools = {
        "idle": PoolState(4, (), ()),
        "net": PoolState(1, (), queue),
        "cpu": PoolState(2, (queue[0],), ()),
    }
    found = rows(pools, {})
    assert [row.name for row in found] == ["cpu", "net", "idle"]
    assert (len(found[1].queue), found[1].more) == (100, 30)
    assert found[0].busy[0].label == "s0"
