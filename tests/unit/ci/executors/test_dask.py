"""What goes between engines and a cluster, as values: orders, answers, news, logs, who works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datakit_ci.conditions import Conditions
from datakit_ci.crew import Crew, WorkerState
from datakit_ci.executors.base import LostBuild, TimedOut, Transient
from datakit_ci.executors.dask.crew import read_crew
from datakit_ci.executors.dask.pools import parse_pools, pool_of, resource_of
from datakit_ci.executors.dask.relay import LogRelay
from datakit_ci.executors.dask.security import Credentials
from datakit_ci.executors.dask.versions import PLENTY, Versions
from datakit_ci.executors.dask.wire import (
    Answer,
    Began,
    Ended,
    News,
    Order,
    Piece,
    key_of,
    read_news,
)
from datakit_ci.outcome import Outcome
from datakit_ci.question import Question, QuestionKind
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.errors import ConfigError
from tests.support.processes import Collector
from tests.support.story import tree_id

BUILD = BuildId("me/app", "unit/fast", "a" * 64, "b" * 64)
SPEC = StageSpec(
    "unit/fast",
    StageKind.PYTHON,
    "unit",
    "f" * 64,
    parameters='{"depth":3}',
    inputs=("src",),
    env=(("MODE", "odd \udcff byte"),),
    conditions=Conditions(secrets=(("TOKEN", "token"),), memory=5),
    origin=f"{tree_id(4)}:ci/pipeline.py",
)
OWN = Versions("3.11", "1.2", "2026.8.0")


def test_an_order_arrives_as_it_was_sent_and_does_not_show_its_secrets() -> None:
    order = Order(BUILD, SPEC, tree_id(1), {"TOKEN": "correct horse \udcff"})
    assert Order.decode(order.encode()) == order
    assert "correct" not in repr(order)


def test_equal_orders_are_equal_bytes_and_a_build_has_one_key() -> None:
    first = Order(BUILD, SPEC, tree_id(1), {"A": "1", "B": "2"})
    second = Order(BUILD, replace(SPEC), tree_id(1), {"B": "2", "A": "1"})
    assert first.encode() == second.encode()
    assert key_of(BUILD) == f"datakit-build/me/app/unit/fast/{'a' * 64}/{'b' * 64}"


@pytest.mark.parametrize(
    "ending",
    [
        Outcome(),
        Outcome(
            failure="exited with status 3",
            output=tree_id(2),
            reports=tree_id(3),
            exit_status=3,
            details=(("datakit", "1"), ("worker", "one")),
            questions=(Question(QuestionKind.FILE, "a\udcff"), Question(QuestionKind.GLOB, "*")),
        ),
        Outcome(questions=()),
    ],
)
def test_an_outcome_arrives_as_it_was_sent(ending: Outcome) -> None:
    answer = Answer(ending, "run", "one", b"a log\xff", 6, None)
    assert Answer.decode(answer.encode()) == answer


@pytest.mark.parametrize("kind", [LostBuild, TimedOut, Transient])
def test_a_loss_arrives_as_what_it_was(kind: type[LostBuild]) -> None:
    answer = Answer(kind("the reason"), "run", "one", log_size=10**6, log_tree=tree_id(1))
    arrived = Answer.decode(answer.encode())
    assert type(arrived.ending) is kind
    assert str(arrived.ending) == "the reason"
    assert (arrived.log_tree, arrived.log_size) == (tree_id(1), 10**6)


@pytest.mark.parametrize(
    "news", [Began("k", "r", "one"), Piece("k", "r", 7, b"\xff"), Ended("k", "r")]
)
def test_news_arrive_as_they_were_sent(news: News) -> None:
    assert read_news(news.to_message()) == news


@pytest.mark.parametrize("message", [None, {}, {"key": 1}, {"key": "k", "run": "r"}, "text"])
def test_news_that_make_no_sense_are_none(message: object) -> None:
    assert read_news(message) is None


def relay_with(*news: News) -> tuple[LogRelay, Collector]:
    log = Collector()
    relay = LogRelay(log)
    for each in news:
        relay.take(each)
    return relay, log


def test_a_log_is_passed_on_in_order_and_once() -> None:
    relay, log = relay_with(
        Began("k", "r", "one"),
        Piece("k", "r", 0, b"first\n"),
        Piece("k", "r", 0, b"first\n"),
        Piece("k", "r", 3, b"st\nsecond\n"),
    )
    assert bytes(log.data) == b"first\nsecond\n"
    assert relay.worker == "one"
    assert not relay.ended.is_set()


def test_after_a_gap_a_log_waits_for_the_answer() -> None:
    relay, log = relay_with(
        Began("k", "r", "one"), Piece("k", "r", 0, b"one\n"), Piece("k", "r", 8, b"three\n")
    )
    whole = b"one\ntwo\nthree\n"
    offset = relay.rest(Answer(Outcome(), "r", "one", whole, len(whole)))
    assert bytes(log.data) == b"one\n"
    relay.finish(whole[offset:])
    assert bytes(log.data) == whole
    assert relay.ended.is_set()


def test_a_second_run_is_told_from_the_first_and_what_is_late_is_dropped() -> None:
    _, log = relay_with(
        Began("k", "r", "one"),
        Piece("k", "r", 0, b"no end"),
        Began("k", "s", "two"),
        Piece("k", "r", 6, b" to come\n"),
        Piece("k", "s", 0, b"again\n"),
    )
    assert bytes(log.data) == b"no end\n[datakit-ci] begun again on worker two\nagain\n"


def test_a_build_counts_as_ended_only_by_its_own_run() -> None:
    relay, _ = relay_with(Began("k", "s", "two"), Ended("k", "r"))
    assert not relay.ended.is_set()
    relay.take(Ended("k", "s"))
    assert relay.ended.is_set()


def test_a_build_that_has_not_begun_has_nothing_to_be_waited_for() -> None:
    assert relay_with()[0].ended.is_set()


def test_an_answer_without_any_news_brings_the_whole_log() -> None:
    relay, log = relay_with()
    assert relay.rest(Answer(Outcome(), "r", "one", b"all\n", 4)) == 0
    relay.finish(b"all\n")
    assert bytes(log.data) == b"all\n"


def identity(**workers: dict[str, Any]) -> dict[str, Any]:
    return {"address": "tls://10.0.0.1:8786", "services": {"dashboard": 8787}, "workers": workers}


def told(name: str, versions: Versions = OWN, **pools: int) -> dict[str, Any]:
    resources: dict[str, float] = {resource_of(pool): units for pool, units in pools.items()}
    ours = {
        "versions": versions.to_json(),
        "running": [BUILD.path, "nonsense"],
        "load": 0.5,
        "cache": 7,
    }
    return {
        "name": name,
        "resources": {**resources, versions.resource: PLENTY, "GPU": 3},
        "metrics": {"cpu": 2.0, "datakit": {**ours, "processors": 8}},
        "last_seen": 1e9,
    }


def test_who_works_is_read_from_what_the_scheduler_says() -> None:
    crew = read_crew(identity(a=told("two", cpu=2, gpu=1), b=told("one", cpu=4)), OWN, 0)
    assert [worker.name for worker in crew.workers] == ["one", "two"]
    two = crew.workers[1]
    assert two.seen is not None
    assert two == WorkerState(
        "two", "a", {"cpu": 2, "gpu": 1}, (BUILD,), 0.5, 8, 7, str(OWN), "", two.seen
    )
    assert crew.units == {"cpu": 6, "gpu": 1}
    assert crew.dashboard == "http://10.0.0.1:8787/status"


def test_workers_that_do_not_fit_are_refused_and_named() -> None:
    older = Versions("3.10", "1.2", "2025.1.0")
    foreign = {"name": 17, "resources": {}, "metrics": {}, "last_seen": 1e9}
    crew = read_crew(identity(a=told("old", older, cpu=2), b=foreign), OWN, 0)
    assert [(worker.name, worker.refusal) for worker in crew.workers] == [
        ("17", "it was not started by datakit-ci worker"),
        ("old", "it has Python 3.10 instead of 3.11, Dask 2025.1.0 instead of 2026.8.0"),
    ]
    assert crew.units == {}


def test_a_scheduler_without_pages_or_workers_is_no_mistake() -> None:
    assert read_crew({"workers": {}}, OWN, 0) == Crew()


def test_versions_are_compared_part_by_part() -> None:
    assert OWN.misfit(OWN) == ""
    assert OWN.misfit(replace(OWN, datakit="2")) == "DataKit 2 instead of 1.2"
    assert Versions.read(OWN.to_json()) == OWN
    assert Versions.read({"python": 3}) is None
    assert Versions.own().resource == Versions.own().resource


def test_pools_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert parse_pools("") == {"cpu": 6}
    assert parse_pools(" docker=4, gpu=1,") == {"cpu": 6, "docker": 4, "gpu": 1}
    assert parse_pools("cpu=0,gpu=1") == {"cpu": 0, "gpu": 1}
    assert pool_of(resource_of("gpu")) == "gpu"
    assert pool_of("GPU") is None


@pytest.mark.parametrize("text", ["gpu", "gpu=", "gpu=x", "gpu=-1", "=3", "a b=1", "cpu=0"])
def test_pools_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_pools(text)


def test_files_of_tls_are_read_from_one_option() -> None:
    read = Credentials.parse("ca-file=/a,cert=/b,key=/c")
    assert read == Credentials(Path("/a"), Path("/b"), Path("/c"))
    assert not Credentials.parse("").given
    for wrong in ("ca=/a", "cert", "/a"):
        with pytest.raises(ConfigError, match="--executor-tls"):
            Credentials.parse(wrong)
