"""Up to 32 requests in flight on a few fids, ended in any order, against a model of the rules.

The model knows what the protocol promises whatever the nodes do: one reply to a request that is
not flushed, one Rflush to each Tflush, nothing for a request after its Rflush, no tag answered
that is not in use, and nothing left when all has ended.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datakit_core.errors import IoFailed
from datakit_core.ninep.dialect import LINUX, UNIX, Dialect
from datakit_core.ninep.linux_messages import (
    Tgetattr,
    Tlcreate,
    Tlock,
    Tlopen,
    Tmkdir,
    Treaddir,
    Trename,
    Trenameat,
    Tsetattr,
    Tunlinkat,
)
from datakit_core.ninep.messages import (
    Record,
    Rflush,
    Tclunk,
    Tcreate,
    Tflush,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Twalk,
    Twrite,
)
from datakit_core.ninep.session import Work
from datakit_core.ninep.wire import Fid, Tag
from tests.support.peer import Peer
from tests.support.slow import LateFile, SlowDirectory

IN_FLIGHT = 32
FIDS = st.integers(0, 3).map(Fid)


class Racer:
    """A client that keeps count of what it is owed.

    Attributes:
        owed: By tag, the requests without a reply.
        flushing: By tag of a Tflush, the tag that it flushes.
        work: What the shell would run, by tag.
        refused: The number of an error reply.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.root = SlowDirectory()
        self.root.file = self.late = LateFile("f")  # type: ignore[assignment]  # a file all the same
        self.peer = Peer(self.root, dialect).attach()
        self.refused = 7 if dialect is LINUX else 107
        self.owed: dict[Tag, Record] = {}
        self.flushing: dict[Tag, Tag] = {}
        self.work: dict[Tag, Work] = {}

    def ask(self, request: Record) -> None:
        """Send a request under a free tag."""
        tag = next(Tag(each) for each in range(2 * IN_FLIGHT) if each not in self.owed)
        self.owed[tag] = request
        if isinstance(request, Tflush):
            self.flushing[tag] = request.oldtag
        outcome = self.peer.send(request, tag)
        if isinstance(outcome, Work):
            self.work[tag] = outcome
        elif outcome is not None:
            self.answered(tag, outcome)
        self.collect()

    def end_work(self, index: int, *, fails: bool) -> None:
        """Run one of the coroutines to its end."""
        tag = sorted(self.work)[index % len(self.work)]
        work = self.work.pop(tag)
        if fails:
            work.coroutine.close()
            self.peer.session.fail(work, IoFailed())
        else:
            try:
                work.coroutine.send(None)
            except StopIteration as done:
                self.peer.session.finish(work, done.value)
            except Exception as error:  # noqa: BLE001 - as the shell does
                self.peer.session.fail(work, error)
        self.collect()

    def end_wait(self, index: int) -> None:
        """Give one of the blocked reads or writes its value."""
        for waiting, value in ((self.late.reads, b"late"), (self.late.writes, 1)):
            if waiting:
                waiting.pop(index % len(waiting)).resolve(value)  # type: ignore[arg-type]
        self.collect()

    def collect(self) -> None:
        """Take the late replies, in order."""
        for tag, reply in self.peer.take():
            self.answered(tag, reply)

    def answered(self, tag: Tag, reply: Record) -> None:
        request = self.owed.pop(tag)  # a KeyError: the tag is not in use
        if isinstance(request, Tflush):
            assert reply == Rflush()
            old = self.flushing.pop(tag)
            self.owed.pop(old, None)  # flushed: nothing may come for it any more
            assert old not in self.work, "Rflush came while the request was under way"
        else:
            assert reply.number in {request.number + 1, self.refused}


NONE = st.just(0)
NAMES = st.sampled_from(["d", "f", "x"])
SHARED: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Twalk, FIDS, FIDS, st.lists(st.sampled_from(["d", "f", "..", "x"]), max_size=3).map(tuple)
    ),
    st.builds(Tread, FIDS, st.just(0), st.just(100)),
    st.builds(Twrite, FIDS, st.just(0), st.just(b"x")),
    st.builds(Tclunk, FIDS),
    st.builds(Tremove, FIDS),
    st.builds(Tflush, st.integers(0, IN_FLIGHT).map(Tag)),
)
OWN: dict[Dialect, st.SearchStrategy[Record]] = {
    UNIX: st.one_of(
        st.builds(Topen, FIDS, st.sampled_from([0, 1, 0x10, 0x40])),
        st.builds(Tcreate, FIDS, st.just("f"), st.just(0o644), st.just(2)),
        st.builds(Tstat, FIDS),
    ),
    LINUX: st.one_of(
        st.builds(Tlopen, FIDS, st.sampled_from([0, 1, 0o1000])),
        st.builds(Tlcreate, FIDS, NAMES, st.sampled_from([0o102, 0o302]), st.just(0o644), NONE),
        st.builds(Tgetattr, FIDS, st.just(0x7FF)),
        st.builds(Tsetattr, FIDS, st.sampled_from([1, 8, 9]), st.just(0o644)),
        st.builds(Treaddir, FIDS, st.sampled_from([0, 1, 1 << 63]), st.just(100)),
        st.builds(Tmkdir, FIDS, NAMES, st.just(0o755), NONE),
        st.builds(Tunlinkat, FIDS, NAMES, st.sampled_from([0, 0x200])),
        st.builds(Trenameat, FIDS, NAMES, FIDS, NAMES),
        st.builds(Trename, FIDS, FIDS, NAMES),
        st.builds(Tlock, FIDS, st.just(1), NONE, NONE, NONE, NONE, st.just("host")),
    ),
}
"""What only the dialect has; 9P2000 has the same as 9P2000.u."""


def steps_of(dialect: Dialect) -> st.SearchStrategy[Record | tuple[int, bool] | int]:
    """Requests, and ends of what they have begun."""
    return st.one_of(
        SHARED,
        OWN[dialect],
        st.tuples(st.integers(0, 99), st.booleans()),
        st.integers(0, 99),
    )


@pytest.mark.parametrize("dialect", OWN, ids=lambda dialect: dialect.version)
@settings(max_examples=300)
@given(data=st.data())
def test_any_order_of_requests_and_their_ends_keeps_the_rules(
    dialect: Dialect, data: st.DataObject
) -> None:
    steps = data.draw(st.lists(steps_of(dialect), max_size=80))
    racer = Racer(dialect)
    for step in steps:
        if isinstance(step, Record):
            if len(racer.owed) < IN_FLIGHT:
                racer.ask(step)
        elif isinstance(step, tuple):
            if racer.work:
                racer.end_work(step[0], fails=step[1])
        else:
            racer.end_wait(step)
    while racer.work:
        racer.end_work(0, fails=False)
    racer.peer.session.close()
    assert (racer.peer.session.fids, racer.peer.session.waiting) == (0, 0)
    assert racer.peer.take() == []
