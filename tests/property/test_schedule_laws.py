"""Whatever happens, in whatever order, the scheduler keeps its promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.schedule import (
    Cancel,
    Event,
    Finished,
    PoolChanged,
    Scheduler,
    Start,
    Stop,
    Unwant,
    UnwantAll,
    Want,
)
from datakit_ci.state import BuildId

BUILDS = [BuildId("me/app", name, "0" * 64, "1" * 64) for name in "abcdef"]
builds = st.sampled_from(BUILDS)
owners = st.sampled_from(["main", "dev", "pr"])


def pool_of(build: BuildId) -> str:
    return "cpu" if build.stage < "d" else "gpu"


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda build, owner, priority: Want(build, pool_of(build), owner, priority),
        builds,
        owners,
        st.integers(-1, 1),
    ),
    st.builds(Unwant, builds, owners),
    st.builds(UnwantAll, owners),
    st.builds(Cancel, builds),
    st.builds(Finished, builds, st.booleans()),
    st.builds(PoolChanged, st.sampled_from(["cpu", "gpu"]), st.integers(0, 3)),
)


class Model:
    """What an engine that does as it is told would see."""

    def __init__(self) -> None:
        self.scheduler = Scheduler({"cpu": 1, "gpu": 2})
        self.capacity = {"cpu": 1, "gpu": 2}
        self.wanted: dict[BuildId, set[str]] = {}
        self.running: set[BuildId] = set()
        self.stopping: set[BuildId] = set()

    def handle(self, event: Event) -> None:
        if isinstance(event, Finished) and event.build not in self.running:
            return  # an engine says this only of what it has started
        self._note(event)
        for instruction in self.scheduler.handle(event):
            match instruction:
                case Start(build=build):
                    assert build not in self.running
                    assert self.wanted.get(build)
                    self.running.add(build)
                    pool = pool_of(build)
                    busy = [each for each in self.running if pool_of(each) == pool]
                    assert len(busy) <= self.capacity[pool]
                case Stop(build=build):
                    assert build in self.running - self.stopping
                    assert not self.wanted.get(build)
                    self.stopping.add(build)

    def _note(self, event: Event) -> None:
        match event:
            case Want(build=build, owner=owner):
                self.wanted.setdefault(build, set()).add(str(owner))
            case Unwant(build=build, owner=owner):
                self.wanted.get(build, set()).discard(str(owner))
            case UnwantAll(owner=owner):
                for wanting in self.wanted.values():
                    wanting.discard(str(owner))
            case Cancel(build=build):
                self.wanted.pop(build, None)
            case Finished(build=build, recorded=recorded):
                self.running.discard(build)
                if recorded or build not in self.stopping:
                    self.wanted.pop(build, None)
                self.stopping.discard(build)
            case PoolChanged(pool=pool, capacity=capacity):
                self.capacity[pool] = capacity

    def check(self) -> None:
        for build in BUILDS:
            assert self.scheduler.is_running(build) == (build in self.running)
            assert self.scheduler.is_wanted(build) == bool(self.wanted.get(build))
            waits = bool(self.wanted.get(build)) and build not in self.running - self.stopping
            if waits:
                assert self.scheduler.reason(build)
            if build in self.running and not self.wanted.get(build):
                assert build in self.stopping
        for name, pool in self.scheduler.pools().items():
            assert not pool.queue or len(pool.busy) >= self.capacity[name]


@given(st.lists(events, max_size=60))
def test_pools_are_never_over_committed_and_nothing_waits_for_a_free_unit(
    story: list[Event],
) -> None:
    model = Model()
    for event in story:
        model.handle(event)
        model.check()


@given(st.lists(events, max_size=60))
def test_all_ends_when_nobody_wants_anything(story: list[Event]) -> None:
    model = Model()
    for event in story:
        model.handle(event)
    for owner in ("main", "dev", "pr"):
        model.handle(UnwantAll(owner))
    for build in sorted(model.running):
        model.handle(Finished(build, recorded=False))
    assert model.scheduler.idle
