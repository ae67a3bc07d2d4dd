"""Two results beside one another: facts, logs, trees, what was looked at, and neighbours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.archive import Dossier
from datakit_ci.canonical import JsonValue
from datakit_ci.dashboard.comparing import compare_facts, compare_logs, compare_trees
from datakit_ci.dashboard.neighbours import find_neighbours
from datakit_ci.dashboard.normal import normalised
from datakit_ci.dashboard.observed import look_at, told
from datakit_ci.occasion import Occasion
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import BuildState, Status
from datakit_ci.trace import Observation
from datakit_core.client.api import FileMode
from tests.support.artefacts import add_result, put
from tests.support.ci_scene import NOW, build_id
from tests.support.fake_engine import FakeEngine


@given(st.binary(max_size=200))
def test_a_normalised_log_has_as_many_lines(log: bytes) -> None:
    assert normalised(log).count(b"\n") == log.count(b"\n")


async def test_logs_that_differ_in_times_only_are_the_same() -> None:
    old = (
        b"\x1b[32mok\x1b[0m Sun Nov  2 in 3.5s at 2026-03-04 05:06:07\n9%\r99%\n0xdeadbeef /tmp/a\n"
    )
    new = b"ok Mon Dec 13 in 12 s at 2026-03-05T11:00:00.5Z\n99%\n0xcafebabe1 /tmp/zz\n"
    assert await compare_logs(old, new) == []


async def test_logs_are_told_as_they_were_but_without_colours() -> None:
    lines = await compare_logs(b"same 1s\n\x1b[31mold\x1b[0m 2s\n", b"same 9s\nnew 3s\n")
    assert lines is not None
    assert [(line.sign, line.text) for line in lines] == [
        (" ", "same 9s"),
        ("-", "old 2s"),
        ("+", "new 3s"),
    ]
    assert await compare_logs(b"\0", b"") is None


def test_only_facts_that_differ_are_told() -> None:
    old = BuildState(
        build_id("a/b", "s"),
        Status.SUCCESS,
        command="make",
        details={"python": "3.11", "tool": "1"},
        occasion=Occasion(identity={"env": {"A": "1", "B": "2"}, "tools": ["x"]}),
    )
    new = replace(
        old,
        status=Status.FAILURE,
        details={"python": "3.12", "tool": "1"},
        occasion=Occasion(identity={"env": {"A": "1", "B": "3"}, "tools": ["x"]}),
    )
    assert compare_facts(old, new) == [
        ("status", "success", "failure"),
        ("env B", "2", "3"),
        ("python", "3.11", "3.12"),
    ]
    assert compare_facts(old, old) == []


async def test_trees_are_compared_by_path_and_small_texts_by_line() -> None:
    engine = FakeEngine()
    old = await put(engine, {"a": b"1\n", "dir/b": b"2\n", "gone": b"x", "same/z": b"z", "m": b"m"})
    new = await put(
        engine,
        {
            "a": b"one\n",
            "dir/b": b"\0",
            "big": b"x" * 500_000,
            "same/z": b"z",
            "m": (FileMode.EXECUTABLE, b"m"),
        },
    )
    found = await compare_trees(engine.database, old, new)
    by_path = {file.change.path: file for file in found.files}
    assert list(by_path) == ["a", "big", "dir/b", "gone", "m"]
    assert [(line.sign, line.text) for line in by_path["a"].lines] == [("-", "1"), ("+", "one")]
    assert by_path["big"].note == "too large to be compared here"
    assert by_path["dir/b"].note == "no text"
    assert by_path["gone"].word == "removed"
    assert by_path["m"].note == "a file became a program"
    assert (await compare_trees(engine.database, old, old)).total == 0
    assert (await compare_trees(engine.database, None, new)).problem.startswith(
        "Only one of the two"
    )


async def test_a_comparison_of_very_much_is_bounded() -> None:
    engine = FakeEngine()
    old = await put(engine, {f"f{number:04}": b"old\n" for number in range(1500)})
    new = await put(engine, {f"f{number:04}": b"new\n" for number in range(1500)})
    found = await compare_trees(engine.database, old, new)
    assert (found.total, len(found.files)) == (1500, 500)
    assert sum(1 for file in found.files if file.lines) == 40


async def test_a_tree_that_is_gone_is_told() -> None:
    engine = FakeEngine()
    old, new = await put(engine, {"a": b"1"}), await put(engine, {"a": b"2"})
    engine.database.objects._objects.pop(old)
    assert "not in the database" in (await compare_trees(engine.database, old, new)).problem


def seen(kind: QuestionKind, path: str, answer: JsonValue) -> Observation:
    return Observation(Question(kind, path), answer)


def test_what_has_changed_since_comes_first() -> None:
    file, pattern = QuestionKind.FILE, QuestionKind.GLOB
    now = [
        seen(file, "same", ["F", "a" * 40]),
        seen(file, "other", ["X", "b" * 40]),
        seen(pattern, "*.py", []),
        seen(file, "unasked", None),
    ]
    before = [seen(file, "same", ["F", "a" * 40]), seen(file, "other", None)]
    sight = look_at(now, before)
    assert [each.path for each in sight.seen] == ["other", "same", "*.py", "unasked"]
    assert sight.changed == 1
    assert sight.seen[0].before == "absent"
    assert sight.seen[0].answer == f"a program {'b' * 10}"
    assert sight.counts == (("file", 3), ("pattern", 1))
    assert not sight.seen[2].is_path
    assert look_at(now).changed == 0


def test_answers_are_told_in_words() -> None:
    assert told(None) == "absent"
    assert told("D") == "a directory"
    assert told([["a", "F"], ["b", "D"]]) == "a, b/"
    assert told([[f"{number}", "F"] for number in range(20)]).endswith("and 12 more")
    assert told({"count": 1200, "digest": "x"}) == "1200 names"
    assert told(["F", "c" * 40]) == "c" * 10
    assert told(7) == "7"


async def history(*dossiers: Dossier) -> AsyncIterator[Dossier]:
    for dossier in dossiers:
        yield dossier


async def test_a_result_has_neighbours_and_a_last_green_one() -> None:
    engine = FakeEngine()
    made = []
    for number, (failed, target) in enumerate(
        [("", "main"), ("", "fork"), ("bad", "main"), ("bad", "fork"), ("", "main")]
    ):
        build = build_id("acme/shop", "unit", str(number))
        occasion = Occasion(targets=((f"acme/shop/heads/{target}", "0" * 40),))
        state = BuildState(build, Status.SUCCESS, occasion=occasion)
        ended = NOW + timedelta(minutes=number)
        made.append(await add_result(engine, build, failed=failed, finished=ended, state=state))
    newest_first = made[::-1]
    around = await find_neighbours(history(*newest_first), made[2].state)
    assert [step.is_here for step in around.line] == [False, False, True, False, False]
    assert around.older is not None
    assert around.newer is not None
    assert around.older.dossier is made[1]
    assert around.green == around.older_here  # of the same branch, though another's is newer
    assert around.green != around.older
    assert around.newer.dossier is made[3]
    assert around.older_here is not None
    assert around.newer_here is not None
    assert around.older_here.dossier is made[0]
    assert around.newer_here.dossier is made[4]
    running = BuildState(build_id("acme/shop", "unit", "live"), Status.RUNNING)
    around = await find_neighbours(history(*newest_first), running)
    assert around.older is not None
    assert around.older.dossier is made[4]
    assert around.newer is None
    unknown = replace(running, status=Status.SUCCESS)
    assert (await find_neighbours(history(*newest_first), unknown)).line == ()
    assert (await find_neighbours(history(), running)).green is None


async def test_a_result_that_was_replaced_has_an_address_of_its_own() -> None:
    engine = FakeEngine()
    old = await add_result(engine, finished=NOW)
    new = await add_result(engine, finished=NOW + timedelta(minutes=1))
    around = await find_neighbours(history(new, old), new.state)
    assert around.older is not None
    assert around.older.address.endswith(f"?at={old.commit}")
    assert "?" not in around.line[0].address
