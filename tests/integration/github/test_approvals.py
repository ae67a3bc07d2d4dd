"""Forks' pull requests approved by comments and reviews on GitHub: who may, and which commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from datakit_ci.bridges.github.approvals import SETTLED, Approvals
from datakit_ci.bridges.github.events import EVENTS, Approval
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.service import granting
from datakit_ci.bridges.github.webhook import Hook, serve_webhooks
from datakit_ci.control import Approve
from datakit_ci.docket import BRANCH as CONTROL
from datakit_ci.errands import Errand
from datakit_ci.metadata import BRANCH
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import InlineWriter, Store
from tests.support.branches import files_of
from tests.support.clock import FakeClock
from tests.support.fake_github import FakeGitHub, FakePull, serve_github
from tests.support.github_world import PROJECT, World, commit_id

A, B = commit_id(1), commit_id(2)
PULL = Target(PROJECT, "pr", "7")


class TimedWorld(World):
    """A world whose database has a clock of its own, which GitHub shares."""

    clock: FakeClock

    def at(self, seconds: float = 2 * SETTLED.total_seconds()) -> datetime:
        """A moment after now."""
        return self.clock.now() + timedelta(seconds=seconds)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TimedWorld]:
    """A stranger's pull request, which the database knows since now."""
    clock = FakeClock()
    seconds = lambda: clock.now().timestamp()  # noqa: E731
    async with (
        Store.open(tmp_path / "db", create=True, writer=InlineWriter, clock=seconds) as store,
        aiohttp.ClientSession() as session,
        serve_github(FakeGitHub()) as hub,
    ):
        made = TimedWorld(hub, LocalDatabase(store), session)
        made.clock = clock
        await made.edit({".monitor": b""})
        made.repository.open_pull(FakePull(7, A, "Help", owner="stranger", fork=True))
        await made.sync()
        yield made


@asynccontextmanager
async def listening(world: TimedWorld) -> AsyncIterator[Meter]:
    """A bridge that hears what is written on GitHub."""
    hook, meter = Hook.at("http://127.0.0.1/hook", "a secret"), Meter()
    heed = granting(None, approvals(world))
    async with serve_webhooks(hook, ("127.0.0.1", 0), world.bridge.notice, meter, heed) as (
        host,
        port,
    ):
        config = {"url": f"http://{host}:{port}/hook", "secret": hook.secret}
        world.repository.hooks[1] = {"id": 1, "events": list(EVENTS), "config": config}
        yield meter


def approvals(world: TimedWorld) -> Approvals:
    return Approvals(world.database, BRANCH, world.client)


def said(at: datetime, commit: str = "") -> Approval:
    return Approval(PROJECT, 7, "ann", at, commit)


async def left(world: TimedWorld) -> list[Approve]:
    """What the engine is asked for."""
    found = [
        Errand.from_bytes(content.encode()).command
        for content in (await files_of(world.database, CONTROL)).values()
    ]
    assert all(isinstance(each, Approve) for each in found)
    return [each for each in found if isinstance(each, Approve)]


def approve(commit: str, user: str = "github:ann") -> Approve:
    return Approve(user, PULL, CommitId(ObjectId(commit)))


async def test_a_comment_of_who_may_write_approves_the_commit_of_then(world: TimedWorld) -> None:
    async with listening(world):
        world.repository.comment(7, "ann", "/ok-to-test", world.at())
        await world.hub.deliveries.join()
    assert await left(world) == [approve(A)]


async def test_a_review_approves_the_commit_that_it_is_about(world: TimedWorld) -> None:
    async with listening(world):
        world.repository.change_pull(7, head=B)
        await world.hub.deliveries.join()
        await world.sync()
        world.repository.review(7, "ann", "/ok-to-test", A)
        await world.hub.deliveries.join()
    assert await left(world) == [approve(A)]  # which the engine refuses, since it is at B


async def test_comments_of_others_and_other_comments_approve_nothing(world: TimedWorld) -> None:
    async with listening(world):
        world.repository.comment(7, "stranger", "/ok-to-test", world.at())
        world.repository.comment(7, "ann", "when is it /ok-to-test?", world.at())
        world.repository.comment(7, "ann", "/ok-to-test", world.at(), kind="Bot")
        identity = world.repository.comment(7, "ann", "fine", world.at())
        world.repository.edit_comment(7, identity, "/ok-to-test")
        await world.hub.deliveries.join()
    assert await left(world) == []


async def test_who_may_not_write_any_more_approves_nothing(world: TimedWorld) -> None:
    world.repository.writers.discard("ann")
    assert not await approvals(world).heed(said(world.at(), A), "one")
    assert await left(world) == []


async def test_a_push_while_somebody_writes_is_not_approved(world: TimedWorld) -> None:
    """The commit was not known long enough to have been read when the comment was written."""
    assert not await approvals(world).heed(said(world.at(9)), "too soon")
    assert await left(world) == []


async def test_a_push_after_the_comment_is_not_approved(world: TimedWorld) -> None:
    """Even if the bridge hears of the push first: what counts is when the comment was written."""
    written = world.at()
    world.clock.advance(seconds=19)
    world.repository.change_pull(7, head=B)
    await world.sync()
    assert await approvals(world).heed(said(written), "late")
    assert await left(world) == [approve(A)]


async def test_a_comment_that_names_a_commit_needs_no_time(world: TimedWorld) -> None:
    assert await approvals(world).heed(said(world.at(0), B), "named")
    assert await left(world) == [approve(B)]


async def test_one_event_is_one_approval_however_often_it_comes(world: TimedWorld) -> None:
    for _ in range(2):
        assert await approvals(world).heed(said(world.at()), "delivery 1")
    assert await left(world) == [approve(A)]


async def test_a_pull_request_that_nobody_knows_is_not_approved(world: TimedWorld) -> None:
    assert not await approvals(world).heed(replace(said(world.at()), number=8), "unknown")
    assert not await approvals(world).heed(
        replace(said(world.at()), project="ann/other"), "elsewhere"
    )
    assert await left(world) == []


async def test_without_the_right_to_read_comments_nothing_is_granted(world: TimedWorld) -> None:
    assert not await granting(None, None)(said(world.at(), A), "any")
