"""Decisions about builds, stepped by number with a clock that is only a value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datakit_ci import shell
from datakit_ci.control import Pause, Rebuild
from datakit_ci.docket import build_path, project_path
from datakit_ci.need import Build
from datakit_ci.policy import Level
from datakit_ci.rulings import UNCONFIRMED, Hold, Ruling, Rulings, Run, Use, decide
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.target import Target, decode_name, encode_name
from datakit_core.errors import InvalidArgument, StoreError
from tests.support.story import build_id, golden, tree_id

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def need(since: datetime | None = None, **options: Any) -> Build:
    return Build("me/app", shell("unit", "pytest", **options).spec, tree_id(1), since)


def result(wanted: Build, started: datetime = NOON, **facts: Any) -> BuildState:
    return BuildState(
        build_id(wanted),
        facts.pop("status", Status.SUCCESS),
        started=started,
        finished=started + timedelta(minutes=5),
        **facts,
    )


def test_a_build_from_confirmation_to_expiry() -> None:
    """Each step is a fact more; the golden file says what follows from it."""
    wanted = need(valid_for="2h", level="dangerous")
    build = build_id(wanted)
    told: list[str] = []

    def tell(
        title: str, rulings: Rulings, recorded: BuildState | None = None, now: datetime = NOON
    ) -> None:
        decision = decide(wanted, build, recorded, rulings, now, Level.DANGEROUS)
        told.append(f"{len(told) + 1}. {title}\n   {now:%H:%M}: {decision}")

    alice = Ruling("alice", NOON)
    tell("nobody has confirmed it", Rulings())
    tell("the project is paused", Rulings(paused={"me/app": alice}))
    tell("confirmed, but still paused", Rulings({"me/app": alice}, {build: alice}))
    tell("confirmed", Rulings(confirmed={build: alice}))
    tell("cancelled while it ran", Rulings(confirmed={build: alice}, cancelled={build: alice}))
    first = result(wanted)
    tell("it has a result", Rulings(confirmed={build: alice}), first, NOON + HOUR)
    tell("a result is shown while the project is paused", Rulings({"me/app": alice}), first)
    late = NOON + 3 * HOUR
    tell(
        "the result has expired; the old confirmation was for the old run",
        Rulings(confirmed={build: alice}),
        first,
        late,
    )
    again = Ruling("bob", late, replaces=first.started)
    tell("confirmed once more", Rulings(confirmed={build: again}), first, late)
    second = result(wanted, late)
    tell("it has a new result", Rulings(confirmed={build: again}), second, late)
    tell(
        "somebody asks for a rebuild",
        Rulings(rebuilt={build: Ruling("carol", late, replaces=second.started)}),
        second,
        late,
    )
    golden("decisions", "\n\n".join(told) + "\n")


def test_a_rebuild_replaces_the_result_it_names_and_no_later_one() -> None:
    wanted = need()
    build, old = build_id(wanted), result(wanted)
    rulings = Rulings(rebuilt={build: Ruling("alice", NOON, replaces=old.started)})
    assert decide(wanted, build, old, rulings, NOON) == Run()
    # Also when the clock was set back in between: no loop.
    new = result(wanted, NOON - 5 * HOUR)
    assert decide(wanted, build, new, rulings, NOON) == Use()


def test_a_result_from_before_the_moment_asked_for_does_not_count() -> None:
    wanted = need(NOON)
    build = build_id(wanted)
    assert decide(wanted, build, result(wanted, NOON - HOUR), Rulings(), NOON) == Run()
    assert decide(wanted, build, result(wanted, NOON), Rulings(), NOON) == Use()


def test_a_recorded_status_that_is_said_to_pass_is_no_result() -> None:
    wanted = need(transient=[75])
    failed = result(wanted, status=Status.FAILURE, exit_status=75)
    assert decide(wanted, build_id(wanted), failed, Rulings(), NOON) == Run()
    real = result(wanted, status=Status.FAILURE, exit_status=1)
    assert decide(wanted, build_id(wanted), real, Rulings(), NOON) == Use()


@pytest.mark.parametrize("level", list(Level))
def test_from_its_level_on_a_build_has_to_be_confirmed(level: Level) -> None:
    wanted = need(level="mostly_harmless")
    decision = decide(wanted, build_id(wanted), None, Rulings(), NOON, level)
    held = level is not Level.DANGEROUS
    assert decision == (Hold(Status.WAITING, UNCONFIRMED) if held else Run())


def test_a_ruling_can_be_read_back() -> None:
    for ruling in (Ruling("al ice", NOON), Ruling("bob", NOON, replaces=NOON - HOUR)):
        assert Ruling.from_bytes(ruling.to_bytes()) == ruling


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2}',
        b'{"version":1,"user":"a","time":"x","replaces":null}',
        b'{"version":1,"user":"a","time":"2026-03-04T12:00:00Z","replaces":3}',
        b"\xff",
    ],
)
def test_a_damaged_ruling_is_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match="damaged ruling"):
        Ruling.from_bytes(content)


def test_names_in_paths_can_be_told_apart_again() -> None:
    for parts in (("me", "app"), ("a-b", "c_d"), ("ä", "x/y"), ("one",)):
        assert decode_name(encode_name(*parts)) == parts
    assert project_path("me/my-app") == "paused/me-my_2dapp"
    build = BuildId("me/app", "a/b", "5" * 64, "6" * 64)
    assert build_path("confirmed", build) == f"confirmed/me-app/a_2fb/{'5' * 64}/{'6' * 64}"


@pytest.mark.parametrize("user", ["", "  ", "a\nBy: b", "x" * 101])
def test_a_user_is_one_line_of_text(user: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a user"):
        Pause(user, "me/app")


def test_a_build_has_no_jobs() -> None:
    with pytest.raises(InvalidArgument, match="has no jobs"):
        Rebuild("alice", BuildId("me/app", "a", "5" * 64, "6" * 64), only_failed=True)
    Rebuild("alice", Target("me/app", "heads", "main"), "lint", only_failed=True)
