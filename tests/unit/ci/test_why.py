"""Why builds ran, and did not: each reason, from facts that are only values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from datakit_ci import shell
from datakit_ci.canonical import JsonValue
from datakit_ci.explanation import Explanation, ReasonKind, Verdict
from datakit_ci.hindrances import Waiting, chain, why_it_waits
from datakit_ci.need import Build
from datakit_ci.occasion import Cause, Occasion
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import UNCONFIRMED, Ruling, Rulings, occasion_of
from datakit_ci.state import BuildId, BuildState, GraphNode, Status
from datakit_ci.trace import Observation, Question, QuestionKind
from datakit_ci.why import Run, why_it_ran, why_it_served
from tests.support.story import tree_id

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MAIN = "me/app/ref/heads/main"
FILE, TREE, GLOB = QuestionKind.FILE, QuestionKind.TREE, QuestionKind.GLOB


def build_id(stage: str = "unit", key: str = "1", static: str = "a") -> BuildId:
    return BuildId("me/app", stage, static * 64, key * 64)


def seen(kind: QuestionKind, path: str, answer: JsonValue) -> Observation:
    return Observation(Question(kind, path), answer)


def run(*observations: Observation, key: str = "2", static: str = "a", **facts: Any) -> Run:
    occasion = facts.pop("occasion", Occasion(targets=((MAIN, "c" * 40),)))
    return Run(build_id(key=key, static=static), NOON, "pytest", occasion, observations or None)


def said(explained: Explanation) -> list[str]:
    return [reason.text for reason in explained.reasons]


@pytest.mark.parametrize(
    ("kind", "path", "old", "new", "text"),
    [
        (FILE, "src/a.py", ["F", "12ab" * 10], ["F", "34cd" * 10],
         "src/a.py changed from 12ab12a to 34cd34c"),
        (FILE, "src/a.py", None, ["F", "34cd" * 10], "src/a.py is new"),
        (FILE, "src/a.py", ["F", "12ab" * 10], None, "src/a.py is gone"),
        (FILE, "run", ["F", "12ab" * 10], ["X", "12ab" * 10],
         "run changed from 12ab12a to an executable 12ab12a"),
        (TREE, "", ["D", "12ab" * 10], ["D", "34cd" * 10],
         "the input changed from 12ab12a to 34cd34c"),
        (QuestionKind.KIND, "docs", "F", "D", "docs changed from a file to a directory"),
        (GLOB, "docs/*.md", [["docs/a.md", "F"]], [["docs/a.md", "F"], ["docs/new.md", "F"]],
         "glob docs/*.md: + docs/new.md"),
        (QuestionKind.LIST, "", [["a", "F"], ["d", "D"]], [["a", "F"]], "list /: - d/"),
        (QuestionKind.LIST, "big", {"count": 101, "digest": "0"}, {"count": 102, "digest": "1"},
         "list big: 101 paths to 102 paths"),
        (QuestionKind.LIST, "d", "F", [["a", "L"]], "list d: a file to 1 paths"),
    ],
)  # fmt: skip
def test_a_changed_observation_is_told_with_both_answers(
    kind: QuestionKind, path: str, old: JsonValue, new: JsonValue, text: str
) -> None:
    same = seen(FILE, "same", ["F", "5" * 40])
    only_new = seen(FILE, "followed", ["F", "6" * 40])
    before = run(same, seen(kind, path, old), key="1")
    found = why_it_ran(run(same, seen(kind, path, new), only_new), before)
    assert (found.verdict, found.before) == (Verdict.RAN, before.build)
    assert said(found) == [text]
    assert found.reasons[0].kind is ReasonKind.OBSERVATION
    assert found.reasons[0].subject == path


def test_many_changes_are_told_in_part() -> None:
    before = run(*(seen(FILE, f"{n}", ["F", "1" * 40]) for n in range(30)), key="1")
    after = run(*(seen(FILE, f"{n}", ["F", "2" * 40]) for n in range(30)))
    assert said(why_it_ran(after, before))[-1] == "and 10 further changes"


def stage_changes(old: Mapping[str, Any], new: Mapping[str, Any], command: str = "ls") -> list[str]:
    """What is said when a stage with these options becomes one with those."""
    first = Build("me/app", shell("unit", **{"command": command, **old}).spec, tree_id(1)).spec
    second = Build("me/app", shell("unit", **{"command": command, **new}).spec, tree_id(1)).spec
    found = why_it_ran(
        replace(run(static="b", occasion=Occasion(identity=second.parts)), command=second.command),
        replace(run(key="1", occasion=Occasion(identity=first.parts)), command=first.command),
    )
    assert {reason.kind for reason in found.reasons} == {ReasonKind.STAGE}
    return said(found)


def test_the_part_of_the_stage_that_has_changed_is_named() -> None:
    assert stage_changes({}, {"command": "ls -l"}) == ["command changed from ls to ls -l"]
    assert stage_changes({"env": {"A": "1"}}, {"env": {"B": "1"}}) == [
        "variable A is gone",
        "variable B is new",
    ]
    assert stage_changes({"inputs": ["src"]}, {"inputs": ["src", "lib"]}) == [
        "declared input lib is new"
    ]
    assert stage_changes({"outputs": ["o"]}, {"outputs": ["o"], "reports": ["r"]}) == [
        "report r is new"
    ]
    assert stage_changes({}, {"sandbox": "auto"})[-1].startswith("condition sandbox")
    before, after = {"A": "1", "B": "1"}, {"A": "2", "B": "1"}
    assert stage_changes({"env": before}, {"env": after}) == ["variable A has another value"]
    (text,) = stage_changes({"version": "1"}, {"version": "2"})
    assert text.startswith("its code, or what it is made with, has changed")


def test_of_old_records_only_the_names_of_variables_are_compared() -> None:
    old = run(key="1", occasion=Occasion(identity={"env": ["A", "B"], "fingerprint": "e"}))
    now: dict[str, JsonValue] = {"env": {"B": "1a2b3c4d", "C": "5e6f7a8b"}, "fingerprint": "f"}
    new = run(static="b", occasion=Occasion(identity=now))
    assert said(why_it_ran(new, old)) == ["variable A is gone", "variable C is new"]


def test_parameters_are_told_one_by_one() -> None:
    def with_parameters(**parameters: Any) -> Occasion:
        return Occasion(identity={"parameters": parameters, "fingerprint": "f"})

    before = run(key="1", occasion=with_parameters(depth=3, same="x"))
    after = run(static="b", occasion=with_parameters(depth=4, same="x"))
    assert said(why_it_ran(after, before)) == ["parameter depth changed from 3 to 4"]


def test_a_stage_of_which_nothing_is_recorded_has_changed_somehow() -> None:
    found = why_it_ran(run(static="b"), run(key="1", occasion=None))
    assert said(found) == ["the stage has changed: its code, parameters or environment"]


@pytest.mark.parametrize(
    ("occasion", "kind", "text"),
    [
        (Occasion(Cause.REBUILD, "alice"), ReasonKind.REBUILD, "rebuild by alice"),
        (Occasion(Cause.EXPIRED), ReasonKind.EXPIRED, "had expired"),
        (Occasion(Cause.SCHEDULE), ReasonKind.SCHEDULE, "schedule"),
        (Occasion(Cause.TRANSIENT), ReasonKind.TRANSIENT, "passes"),
        (Occasion(), ReasonKind.FIRST, "no earlier result"),
        (None, ReasonKind.FIRST, "no earlier result"),
    ],
)
def test_each_cause_has_its_words(occasion: Occasion | None, kind: ReasonKind, text: str) -> None:
    (reason,) = why_it_ran(run(occasion=occasion), None).reasons
    assert reason.kind is kind
    assert text in reason.text
    assert reason.user == ("alice" if kind is ReasonKind.REBUILD else "")


def test_a_result_that_was_not_kept_is_the_reason() -> None:
    (reason,) = why_it_ran(run(), run(key="1"), removed=True).reasons
    assert reason.kind is ReasonKind.REMOVED


def test_where_nothing_is_recorded_nothing_is_made_up() -> None:
    (reason,) = why_it_ran(run(), run(key="1")).reasons
    assert reason.kind is ReasonKind.UNKNOWN


def test_what_did_not_run_names_the_result_that_served_it() -> None:
    one, other = seen(FILE, "a", ["F", "1" * 40]), seen(FILE, "b", None)
    found = why_it_served(run(one, other), "noon")
    assert found.verdict is Verdict.SERVED
    assert said(found) == [
        f"the result of noon for {MAIN} at ccccccc will do: "
        "all 2 things that it looked at are the same"
    ]
    assert found.reasons[0].builds == (found.build,)
    assert "what it looked at is the same" in said(why_it_served(run(occasion=None), "noon"))[0]


def waiting(status: Status = Status.WAITING, reason: str = "", **facts: Any) -> Waiting:
    defaults: dict[str, Any] = {
        "pool": "cpu", "pools": {}, "wanted_locks": (), "locks": {}, "rulings": Rulings(),
    }  # fmt: skip
    return Waiting(build_id(), status, reason, **{**defaults, **facts})


ALICE = Ruling("alice", NOON)
DEPLOY, SLOW = build_id("deploy"), build_id("slow")


@pytest.mark.parametrize(
    ("facts", "verdict", "kind", "text", "who"),
    [
        (waiting(pools={"cpu": PoolState(1, (SLOW,), (build_id(),))}), Verdict.WAITS,
         ReasonKind.POOL, "pool cpu (1 of 1 busy: slow of me/app)", (SLOW,)),
        (waiting(pools={"cpu": PoolState(None, (), (build_id(),))}), Verdict.WAITS,
         ReasonKind.POOL, "pool cpu (which is not declared)", ()),
        (waiting(wanted_locks=["db"], locks={"db": LockState(DEPLOY, ())}), Verdict.WAITS,
         ReasonKind.LOCK, "lock db, which deploy of me/app has", (DEPLOY,)),
        (waiting(wanted_locks=["db"], locks={"db": LockState(None, (DEPLOY, build_id()))}),
         Verdict.WAITS, ReasonKind.LOCK, "lock db, for which deploy of me/app comes first",
         (DEPLOY,)),
        (waiting(reason=UNCONFIRMED), Verdict.WAITS, ReasonKind.CONFIRMATION, UNCONFIRMED, ()),
        (waiting(reason="paused by alice", rulings=Rulings(paused={"me/app": ALICE})),
         Verdict.WAITS, ReasonKind.PAUSE, "paused by alice since 2026-03-04 12:00 UTC", ()),
        (waiting(reason="attempt 2 of 3 at 12:00:02 UTC: gone", is_resting=True), Verdict.WAITS,
         ReasonKind.RETRY, "attempt 2 of 3 at 12:00:02 UTC: gone", ()),
        (waiting(trouble="The database is away."), Verdict.WAITS, ReasonKind.DATABASE,
         "The database is away.", ()),
        (waiting(Status.CANCELLED, "cancelled by alice",
                 rulings=Rulings(cancelled={build_id(): ALICE})),
         Verdict.ENDED, ReasonKind.CANCELLED, "cancelled by alice", ()),
        (waiting(Status.ERROR, "no such secret"), Verdict.ENDED, ReasonKind.OTHER,
         "no such secret", ()),
        (waiting(Status.RUNNING), Verdict.RUNS, ReasonKind.OTHER, "running", ()),
        (waiting(reason="waiting for its cancelled run to end"), Verdict.WAITS, ReasonKind.OTHER,
         "waiting for its cancelled run to end", ()),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_named_with_who_has_it(
    facts: Waiting, verdict: Verdict, kind: ReasonKind, text: str, who: tuple[BuildId, ...]
) -> None:
    found = why_it_waits(facts)
    assert found.verdict is verdict
    (reason,) = found.reasons
    assert (reason.kind, reason.text, reason.builds) == (kind, text, who)
    assert reason.user == ("alice" if "alice" in text else "")


def test_a_job_is_followed_to_the_node_that_decides() -> None:
    nodes = [
        GraphNode("source", "source", "source", Status.SUCCESS),
        GraphNode("lint", "lint", "stage", Status.SUCCESS, "", ("source",), build_id("lint")),
        GraphNode("unit", "unit", "stage", Status.FAILURE, "", ("source",), build_id("unit")),
        GraphNode("gate", "gate", "gate", Status.BLOCKED, "", ("lint", "unit")),
        GraphNode("wheel", "wheel", "stage", Status.BLOCKED, "", ("gate",), None, ("wheel",)),
        GraphNode("head", "head of x", "head", Status.WAITING, "there is no x", (), None, ("x",)),
    ]
    assert [node.id for node in chain(nodes, "wheel")] == ["wheel", "gate", "unit"]
    assert [node.id for node in chain(nodes, "x")] == ["head"]
    assert chain(nodes, "none") == []


def test_the_occasion_of_a_run_says_why_a_result_would_not_do() -> None:
    wanted = Build("me/app", shell("unit", "pytest", valid_for="1h").spec, tree_id(1))
    recorded = BuildState(build_id(), Status.SUCCESS, started=NOON, finished=NOON)
    rebuilt = Rulings(rebuilt={build_id(): Ruling("alice", NOON, NOON)})

    def cause(rulings: Rulings, hours: int, *, known: bool = True) -> tuple[Cause, str]:
        now = NOON.replace(hour=12 + hours)
        state = recorded if known else None
        occasion = occasion_of(build_id(), [wanted], state, rulings, now)
        assert occasion.identity == wanted.spec.parts
        return occasion.cause, occasion.user

    assert cause(Rulings(), 2) == (Cause.EXPIRED, "")
    assert cause(rebuilt, 0) == (Cause.REBUILD, "alice")
    assert cause(rebuilt, 0, known=False) == (Cause.REBUILD, "alice")
    assert cause(Rulings(), 0, known=False) == (Cause.NEW, "")
    later = replace(wanted, since=NOON.replace(minute=30))
    scheduled = occasion_of(build_id(), [later], recorded, Rulings(), NOON)
    assert scheduled.cause is Cause.SCHEDULE


def test_an_occasion_survives_the_database_and_strangers_are_left_alone() -> None:
    occasion = Occasion(Cause.REBUILD, "alice", ((MAIN, "c" * 40),), {"env": ["A"]})
    assert Occasion.from_json(occasion.to_json()) == occasion
    strangers: list[object] = [None, {}, [], {"cause": "later", "targets": [], "identity": {}}]
    for value in strangers:
        assert Occasion.from_json(value) is None


def test_an_explanation_is_data_too() -> None:
    found = why_it_waits(waiting(pools={"cpu": PoolState(1, (SLOW,), ())})).to_json()
    assert found == {
        "label": "unit",
        "verdict": "waits",
        "reasons": [
            {
                "kind": "pool",
                "text": "pool cpu (1 of 1 busy: slow of me/app)",
                "subject": "cpu",
                "builds": [SLOW.path],
            }
        ],
        "build": build_id().path,
        "before": None,
    }
