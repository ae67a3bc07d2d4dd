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

BUILDS = [
    BuildId("me/app" if name in {"a", "b", "d"} else "me/site", name, "0" * 64, "1" * 64)
    for name in "abcdef"
]
LOCKS = {"b": ("deploy",), "c": ("deploy", "disk"), "d": ("disk",), "e": ("deploy", "disk")}
builds = st.sampled_from(BUILDS)
owners = st.sampled_from(["main", "dev", "pr"])


def pool_of(build: BuildId) -> str:
    return "cpu" if build.stage < "d" else "gpu"


def locks_of(build: BuildId) -> tuple[str, ...]:
    return LOCKS.get(build.stage, ())


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda build, owner, priority: Want(
            build, pool_of(build), owner, priority, locks_of(build)
        ),
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
                    held = [lock for each in self.running for lock in locks_of(each)]
                    assert len(held) == len(set(held))
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
        held = {lock for build in self.running for lock in locks_of(build)}
        for name, pool in self.scheduler.pools().items():
            full = len(pool.busy) >= self.capacity[name]
            assert full or all(locks_of(build) for build in pool.queue)
        for name, lock in self.scheduler.locks().items():
            assert (lock.holder is not None) == (name in held)
            first = lock.queue[:1] if lock.holder is None else ()
            for build in first:  # it waits for a unit or for another lock, never for this one
                pool = self.scheduler.pools()[pool_of(build)]
                full = len(pool.busy) >= self.capacity[pool_of(build)]
                others = set(locks_of(build)) - {name}
                assert full or any(self._is_taken(build, other) for other in others)

    def _is_taken(self, build: BuildId, name: str) -> bool:
        lock = self.scheduler.locks()[name]
        return lock.holder is not None or lock.queue[0] != build


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


@given(st.lists(builds, unique=True, min_size=1), st.lists(builds, unique=True))
def test_whatever_waits_runs_in_the_end_although_others_come_again_and_again(
    waiting: list[BuildId], others: list[BuildId]
) -> None:
    """Nobody starves: neither behind other projects, nor for want of several locks at once."""
    scheduler = Scheduler({"cpu": 1, "gpu": 1})
    running: list[BuildId] = []
    started: set[BuildId] = set()

    def tell(event: Event) -> None:
        for instruction in scheduler.handle(event):
            assert isinstance(instruction, Start)
            running.append(instruction.build)
            started.add(instruction.build)

    for build in [*others, *waiting]:
        tell(Want(build, pool_of(build), "main", locks=locks_of(build)))
    for _ in range(3 * len(BUILDS)):
        if running:
            ended = running.pop(0)
            tell(Finished(ended))
            if ended in others:
                tell(Want(ended, pool_of(ended), "main", locks=locks_of(ended)))
    assert started >= set(waiting)


@given(st.lists(events, max_size=40))
def test_equal_stories_have_equal_instructions(story: list[Event]) -> None:
    one, other = Scheduler({"cpu": 1}), Scheduler({"cpu": 1})
    valid = [event for event in story if not isinstance(event, Finished)]
    assert [one.handle(event) for event in valid] == [other.handle(event) for event in valid]
