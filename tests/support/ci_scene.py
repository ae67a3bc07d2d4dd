"""A believable state of a small company's CI, for pages to show: red, green, running, broken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from tests.support.fake_engine import FakeEngine

__all__ = ["NOW", "Scene", "build_id", "fill", "matrix_graph", "pipeline", "wide_graph"]

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)

Stages = dict[str, tuple[Status, str, tuple[str, ...]]]
"""Stages by name: where each stands, why, and what it comes after."""

_S, _F, _R, _W, _B = Status.SUCCESS, Status.FAILURE, Status.RUNNING, Status.WAITING, Status.BLOCKED

# § stands for the escape character and its bracket, which open every sequence.
PYTEST_LOG = (
    r"""§1m========================= test session starts ==========================§0m
platform linux -- Python 3.12.3, pytest-8.3.4, pluggy-1.5.0
rootdir: /build/source
configfile: pyproject.toml
collecting ... ~collecting 214 items~§Kcollected 214 items

tests/unit/test_basket.py §32m.........................§0m§32m   [ 24%]§0m
tests/unit/test_invoice.py §32m....§0m§31mF§0m§32m.....§0m§31mF§0m§31m          [ 37%]§0m
tests/unit/test_rates.py §32m........................................§0m§31m        [ 71%]§0m
tests/unit/test_words.py §32m.....................................§0m§33ms§0m§31m          [100%]§0m

=============================== FAILURES ================================
§31m§1m__________________________ test_rounding[EUR] ___________________________§0m

currency = §33m'EUR'§39;49;00m

    §94mdef§39;49;00m §92mtest_rounding§39;49;00m(currency: §96mstr§39;49;00m):
        total = invoice([Item(§33m"19.99"§39;49;00m, §94m3§39;49;00m)], currency)
>       §94massert§39;49;00m total.tax == Decimal(§33m"11.39"§39;49;00m)
§1m§31mE       AssertionError: assert Decimal('11.40') == Decimal('11.39')§0m

§1m§31mtests/unit/test_invoice.py§0m:41: AssertionError
§38;2;255;140;0mexact§0m §38;5;141m256§0m §7minverse§0m §44;97m on blue §0m <b>bold</b>
§36m§1m======================= short test summary info ========================§0m
§31mFAILED§0m tests/unit/test_invoice.py::§1mtest_rounding[EUR]§0m - 11.40 == 11.39
§31mFAILED§0m tests/unit/test_invoice.py::§1mtest_rounding[CHF]§0m - 0.05 == 0.04
§31m========= §1m2 failed§0m, §32m211 passed§0m, §33m1 skipped§0m§31m in 38.04s =========§0m
""".replace("§", "\x1b[")
    .replace("~", "\r")
    .encode()
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a test wants to point at."""

    engine: FakeEngine
    red: TargetState
    green: TargetState
    busy: TargetState
    failed: BuildId
    live: BuildId


def digest(*parts: str) -> str:
    """64 hex digits that stand for ``parts``."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build_id(project: str, stage: str, salt: str = "") -> BuildId:
    """A build's id; ``salt`` tells apart what the stage was given."""
    return BuildId(project, stage, digest(project, stage), digest(project, stage, salt))


def commit(name: str) -> CommitId:
    return CommitId(ObjectId(digest(name)[:40]))


def pipeline(project: str, salt: str, stages: Stages) -> tuple[GraphNode, ...]:
    """A source, and after it the stages, each with a job of its name."""
    nodes = [GraphNode("source", "source", "source", Status.SUCCESS)]
    for name, (status, reason, inputs) in stages.items():
        build = None if status is Status.BLOCKED else build_id(project, name, salt)
        after = inputs or ("source",)
        nodes.append(GraphNode(name, name, "stage", status, reason, after, build, (name,)))
    return tuple(nodes)


def target_state(
    target: Target, graph: Iterable[GraphNode], about: tuple[str, str, float], now: datetime
) -> TargetState:
    """A target with a job for each node; ``about`` is subject, author and age in minutes."""
    subject, author, minutes = about
    nodes = tuple(graph)
    moment = now - timedelta(minutes=minutes)
    return TargetState(
        target,
        head=commit(target.path),
        subject=subject,
        author=author,
        committed=moment - timedelta(minutes=3),
        updated=moment,
        jobs=tuple(
            JobState(name, node.status, node.reason, (node.build,) if node.build else ())
            for node in nodes
            for name in node.jobs
        ),
        graph=nodes,
    )


def record(engine: FakeEngine, state: TargetState, now: datetime) -> None:
    """Make a build for every node that has one, at plausible times."""
    ends = {"source": 0.0}
    make = engine.database.objects.make
    base = (state.updated or now) - timedelta(seconds=150)
    for index, node in enumerate(state.graph):
        begin = max((ends.get(source, 0) for source in node.inputs), default=0) + index % 3 * 4
        ends[node.id] = begin + _SECONDS.get(node.label, 12 + index % 7 * 5)
        if node.build is None:
            continue
        started = base + timedelta(seconds=begin)
        if node.status is Status.RUNNING:
            started = now - timedelta(seconds=17 + index * 9)
        waits = node.status is Status.WAITING
        build = BuildState(
            node.build,
            node.status,
            node.reason,
            command=_COMMANDS.get(node.label, f"make {node.label}"),
            input=make({"README.md": node.id + state.target.path}),
            output=make({"out.txt": node.id}) if node.status is Status.SUCCESS else None,
            queued=started - timedelta(seconds=2 + index % 3 * 3),
            started=None if waits else started,
            finished=base + timedelta(seconds=ends[node.id]) if node.status.is_final else None,
            exit_status={Status.SUCCESS: 0, Status.FAILURE: 1}.get(node.status),
            details={"executor": "local", "python": "3.12.3"},
        )
        engine.add_build(build, b"" if waits else _LOGS.get(node.label, b""))


_SECONDS = {
    "lint": 6, "types": 21, "unit": 41, "wheel": 9,
    "docs": 14, "smoke": 33, "browser": 95, "image": 48,
}  # fmt: skip

_COMMANDS = {
    "lint": "ruff check . && ruff format --check .",
    "types": "mypy --strict src tests",
    "unit": "pytest -q --junitxml=report.xml tests/unit",
    "wheel": "python -m build --wheel --outdir dist",
    "browser": "pytest tests/browser --headless --tracing retain-on-failure",
}

_LOGS = {
    "lint": b"\x1b[1;32mAll checks passed!\x1b[0m\n132 files already formatted\n",
    "types": b"\x1b[1m\x1b[32mSuccess: no issues found in 132 source files\x1b[m\n",
    "unit": PYTEST_LOG,
    "wheel": b"* Building wheel...\nBuilt \x1b[4mshop-2.4.0-py3-none-any.whl\x1b[0m\n",
    "browser": b"starting \x1b[1mChromium\x1b[0m\n"
    + b"".join(b"test_%02d.py \x1b[32mPASSED\x1b[0m [%3d%%]\n" % (n, n * 3) for n in range(18)),
}

_GREEN: Stages = {
    "lint": (_S, "passed in 6 s", ()),
    "types": (_S, "passed in 21 s", ()),
    "unit": (_S, "214 passed in 41 s", ()),
    "docs": (_S, "passed in 14 s", ()),
    "wheel": (_S, "passed in 9 s", ("lint", "types")),
    "smoke": (_S, "passed in 33 s", ("wheel",)),
    "image": (_S, "passed in 48 s", ("wheel", "unit")),
}
_RED: Stages = {
    **_GREEN,
    "unit": (_F, "2 failed, 211 passed: exit status 1", ()),
    "image": (_B, "blocked by unit", ("wheel", "unit")),
}
_BUSY: Stages = {
    "lint": (_S, "passed in 5 s", ()),
    "types": (_S, "passed in 19 s", ()),
    "unit": (_R, "", ()),
    "browser": (_R, "", ("types",)),
    "wheel": (_W, "waiting for pool cpu (2 of 2 busy)", ("lint", "types")),
    "smoke": (_W, "waiting for wheel", ("wheel",)),
}
_SITE: Stages = {
    "build": (_S, "passed in 31 s", ()),
    "links": (_S, "passed in 8 s", ("build",)),
}
_SITE_WAITS: Stages = {
    **_SITE,
    "links": (_W, "waiting for pool net (1 of 1 busy)", ("build",)),
}
_PROBLEM = """ci/pipeline.py:14: NameError: name 'sources' is not defined
    return {"build": build(sources)}"""


def fill(engine: FakeEngine, now: datetime = NOW) -> Scene:
    """Seven targets of two projects, in every state."""
    shop, site = "acme/shop", "acme/storefront"

    def target(
        project: str, short: str, stages: Stages, about: tuple[str, str, float]
    ) -> TargetState:
        named = Target.parse(project, short)
        salt = "same" if stages is _GREEN else named.path
        return target_state(named, pipeline(project, salt, stages), about, now)

    green = target(shop, "heads/main", _GREEN, ("Merge the new tax table", "First Author", 42))
    red = target(shop, "heads/rounding", _RED, ("Round half to even", "Fourth Author", 6))
    busy = target(shop, "pr/318", _BUSY, ("Show delivery dates in the basket", "Third Author", 1))
    states = [
        green,
        red,
        busy,
        target(shop, "tags/v2.4.0", _GREEN, ("Release 2.4.0", "First Author", 60 * 26)),
        target(site, "heads/main", _SITE, ("Use the smaller picture", "Second Author", 60 * 3)),
        target(site, "pr/12", _SITE_WAITS, ("Fix the links in the footer", "Second Author", 2)),
        replace(
            target(site, "heads/trial/stages", {}, ("Try two more stages", "Third Author", 300)),
            graph=(),
            problem=_PROBLEM,
        ),
    ]
    engine.add(*states)
    for state in states:
        record(engine, state, now)
    failed, live = red.graph[3].build, busy.graph[4].build
    assert failed is not None
    assert live is not None
    return Scene(engine, red, green, busy, failed, live)


def matrix_graph(project: str, count: int = 48) -> tuple[GraphNode, ...]:
    """A stage with ``count`` cells between two others; the last but one of them has failed."""

    def node(name: str, status: Status, *inputs: str) -> GraphNode:
        build = None if status is _B else build_id(project, name)
        return GraphNode(name, name, "stage", status, "", inputs, build, (name,))

    cells = [f'unit(OS="debian", ROUND={number})' for number in range(count)]
    return (
        GraphNode("source", "source", "source", _S),
        node("wheel", _S, "source"),
        *(node(cell, _F if cell is cells[-2] else _S, "wheel") for cell in cells),
        node("publish", _B, *cells),
    )


def wide_graph(project: str, count: int = 60) -> tuple[GraphNode, ...]:
    """A pipeline of ``count`` nodes in several layers, with a failure in the middle of it."""
    nodes = [GraphNode("n0", "source", "source", Status.SUCCESS)]
    for index in range(1, count):
        some = range(1 + index % 6 % 3)
        inputs = tuple({f"n{max(0, index - 1 - (index * 7 + k * 5) % 9)}" for k in some})
        status = _F if index == 23 else _S if index < 40 else _R if index < 44 else _W
        status = _B if "n23" in inputs else status
        label = f"stage-{index}" + "-long" * (index % 4)
        build = None if status is _B else build_id(project, label)
        nodes.append(GraphNode(f"n{index}", label, "stage", status, "", inputs, build, (label,)))
    return tuple(nodes)
