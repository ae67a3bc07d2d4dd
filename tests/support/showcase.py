"""A company's CI with something on every page: what the pictures of the documents show.

Nothing in it depends on the machine or the day, so that the same pages make the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from aiohttp import web

from datakit_ci.acl import github_org, username
from datakit_ci.annals import Change
from datakit_ci.archive import Dossier
from datakit_ci.crew import Crew, WorkerState
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.particulars import Particulars
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.logtimes import LogTimes
from datakit_ci.occasion import Occasion
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Config, Project
from datakit_ci.question import Question, QuestionKind
from datakit_ci.retention import Retention
from datakit_ci.rulings import UNCONFIRMED
from datakit_ci.secrets import Secret
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_ci.trace import Observation
from datakit_ci.verdict import UNAPPROVED
from tests.support.artefacts import add_result
from tests.support.ci_scene import (
    NOW,
    PYTEST_LOG,
    build_id,
    commit,
    fill,
    pipeline,
    target_state,
)
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import everything

__all__ = ["PAGES", "USER", "showcase"]

USER = "github:ann"
"""Who may do everything there."""

SHOP, SITE = "acme/shop", "acme/storefront"
_RED = build_id(SHOP, "unit", Target(SHOP, "heads", "rounding").path)
_GREEN = build_id(SHOP, "unit", "same")
_TIDY = build_id(FLOWS, "rates/tidy")

PAGES = {
    "overview": "/", "pull requests": "/pr", "branches": "/branch", "tags": "/tag",
    "project": f"/{SHOP}", "branch": f"/{SHOP}/ref/heads/rounding", "pull": f"/{SHOP}/pr/318",
    "green": f"/{SHOP}/ref/heads/main",
    "broken": f"/{SITE}/ref/heads/trial/stages", "fork": f"/{SHOP}/pr/321",
    "history": f"/history/{SHOP}/ref/heads/rounding", "build": path_of("build", _RED.path),
    "live": path_of("build", build_id(SHOP, "browser", f"{SHOP}/pr/318").path),
    "waiting": path_of("build", build_id(SHOP, "wheel", f"{SHOP}/pr/318").path),
    "compare": path_of("build", _RED.path) + "/compare?with=green",
    "tests": path_of("build", _RED.path) + "/tests",
    "observations": path_of("build", _RED.path) + "/observations",
    "output": path_of("build", _GREEN.path) + "/output",
    "file": path_of("build", _GREEN.path) + "/input/src/invoice.py",
    "results": f"/results/{SHOP}/unit", "commit": f"/{SHOP}/commit/{commit(f'{SHOP}/pr/318')}",
    "flows": "/flows", "flow": "/flows/clean-rates", "pools": "/pools", "settings": "/settings",
    "profile": "/profile", "search": "/?q=rounding", "found nothing": "/branch?q=nothing+like+it",
    "missing": "/acme/none",
}  # fmt: skip
"""Where something is to be seen, by what it is."""

_FILES = {
    "README.md": b"# Shop\n\nSells books.\n",
    "src/invoice.py": b'"""Invoices."""\n\nfrom decimal import ROUND_HALF_UP, Decimal\n\n\n'
    b"def tax(total: Decimal, rate: Decimal) -> Decimal:\n"
    b'    """The tax on a total."""\n'
    b'    return (total * rate).quantize(Decimal("0.01"), ROUND_HALF_UP)\n',
    "tests/unit/test_invoice.py": b"def test_rounding(): ...\n",
}
_CHANGED = {
    **_FILES,
    "src/invoice.py": _FILES["src/invoice.py"].replace(b"ROUND_HALF_UP", b"ROUND_HALF_EVEN"),
}
_SUITE = b'<testsuite><testcase classname="tests.unit.test_invoice" name="test_rounding[EUR]" time="0.31">%s</testcase>%s</testsuite>'  # noqa: E501 - a file's text
_FAILED = (
    b"<failure message=\"assert Decimal('11.40') == Decimal('11.39')\">"
    b"tests/unit/test_invoice.py:41: AssertionError\n"
    b'    total = invoice([Item("19.99", 3)], currency)\n'
    b'&gt;   assert total.tax == Decimal("11.39")</failure>'
)
_OTHERS = b"".join(
    b'<testcase classname="tests.unit.test_basket" name="test_%d" time="0.02"/>' % number
    for number in range(211)
)


async def showcase(now: datetime = NOW) -> web.Application:
    """The dashboard over it; :data:`USER` may do everything, everybody may read."""
    engine = fill(FakeEngine(), now).engine
    engine.declared = list(_config().projects)
    _ask_people(engine, now)
    await _results(engine, now)
    await _flows(engine, now)
    _machines(engine, now)
    rules = everything(USER)
    return create_app(
        engine,
        now=lambda: now,
        access=Access(lambda: rules),
        controls=engine,
        particulars=_particulars(),
    )


def _config() -> Config:
    return Config(
        projects=[
            Project(SHOP, lambda _: {}, dashboards=["main"], can_build=github_org("acme")),
            Project(SITE, pipeline="ci/pipeline.py", dashboards=["main"], forks="approve_once"),
        ],
        retention=Retention(days=90, keep=50),
        secrets={"PYPI_TOKEN": Secret.env("PYPI_TOKEN")},
        can_admin=username(USER),
    )


def _particulars() -> Particulars:
    return Particulars(
        {"--web-ui": "https://ci.example.org", "--executor": "dask:tls://farm.example.org:8786"},
        _config,
        lambda: (),
        ("github",),
        "/srv/datakit/database.git",
        executor="dask:tls://farm.example.org:8786",
    )


def _ask_people(engine: FakeEngine, now: datetime) -> None:
    """A fork that waits to be approved, and a release that waits to be confirmed."""
    about = ("Add Welsh translations", "Fifth Author", 18.0)
    fork = target_state(Target(SHOP, "pr", "321"), (), about, now)
    job = JobState("pipeline", Status.WAITING, UNAPPROVED)
    engine.add(replace(fork, title="Add Welsh translations", jobs=(job,)))
    stages = {
        "wheel": (Status.SUCCESS, "passed in 9 s", ()),
        "publish": (Status.WAITING, UNCONFIRMED, ("wheel",)),
    }
    release = Target(SHOP, "tags", "v2.5.0")
    graph = pipeline(SHOP, release.path, stages)
    engine.add(target_state(release, graph, ("Release 2.5.0", "First Author", 31.0), now))
    for node in graph:
        if node.build is not None:
            waits = node.status is Status.WAITING
            moment = now - timedelta(minutes=31)
            engine.add_build(
                BuildState(
                    node.build,
                    node.status,
                    node.reason,
                    command=f"make {node.label}",
                    queued=moment,
                    started=None if waits else moment,
                    finished=None if waits else moment + timedelta(seconds=9),
                )
            )


async def _results(engine: FakeEngine, now: datetime) -> None:
    """Results of the tests around the one that failed, and what the branch came to before it."""
    for hours in (74, 51, 28, 26, 3):
        await _unit(engine, build_id(SHOP, "unit", f"{hours}"), now - timedelta(hours=hours))
    await _unit(engine, _GREEN, now - timedelta(minutes=42))
    await _unit(engine, _RED, now - timedelta(minutes=6), failed="2 failed, 211 passed")
    engine.whys[_RED] = Explanation(
        "unit",
        Verdict.RAN,
        (Reason(ReasonKind.OBSERVATION, "src/invoice.py changed"),),
        _RED,
        _GREEN,
    )
    rounding = engine.target(Target(SHOP, "heads", "rounding"))
    assert rounding is not None
    engine.histories[rounding.target] = list(_history(rounding, now))


async def _unit(
    engine: FakeEngine, build: BuildId, finished: datetime, failed: str = ""
) -> Dossier:
    files = _CHANGED if failed else _FILES
    seen = tuple(
        Observation(Question(QuestionKind.FILE, path), ["F", sha256(files[path]).hexdigest()[:40]])
        for path in sorted(files)
    )
    log = PYTEST_LOG if failed else b"$ pytest -q tests/unit\n214 passed in 38.11s\n"
    state = BuildState(
        build,
        Status.SUCCESS,
        command="pytest -q --junitxml=report.xml tests/unit",
        details={"executor": "farm-2", "python": "3.12.3", "datakit": "0.1.0"},
        occasion=Occasion(),
    )
    suite = _SUITE % (_FAILED if failed else b"", _OTHERS)
    made = {"report.xml": suite, "coverage/index.html": b"<h1>Coverage: 94 %</h1>"}
    dossier = await add_result(
        engine, build, given=files, made=made, reports={"report.xml": suite}, failed=failed,
        log=log, finished=finished, seen=seen, state=state,
    )  # fmt: skip
    engine.add_build(dossier.state, log)
    engine.times[build] = LogTimes(finished - timedelta(seconds=41), (0, 200), (0, 38_000))
    return dossier


def _history(state: TargetState, now: datetime) -> Iterable[Change]:
    subjects = ("Round half to even", "Test more currencies", "Name the rates", "Begin a branch")
    for number, subject in enumerate(subjects):
        moment = now - timedelta(minutes=6) - timedelta(hours=9 * number)
        head = commit(f"rounding {number}") if number else state.head
        jobs = tuple(
            job if not number else replace(job, status=Status.SUCCESS, description="passed")
            for job in state.jobs
        )
        old = replace(
            state, head=head, subject=subject, updated=moment, committed=moment, jobs=jobs, graph=()
        )
        yield Change(commit(f"state {number}"), old)


async def _flows(engine: FakeEngine, now: datetime) -> None:
    for hours in (25, 1):
        dossier = await add_result(
            engine, _TIDY, given={"raw.csv": b"%d" % hours}, made={"rates.csv": b"EUR,1\n"},
            log=b"tidied 31 rates\n", finished=now - timedelta(hours=hours),
        )  # fmt: skip
        engine.add_build(dossier.state, b"tidied 31 rates\n")
    graph = (
        GraphNode("h", "raw-rates", "head", Status.SUCCESS),
        GraphNode("e", "every day 06:00", "every", Status.SUCCESS),
        GraphNode("s", "rates/tidy", "stage", Status.SUCCESS, "", ("h", "e"), _TIDY),
        GraphNode("p", "publish to clean-rates", "publish", Status.SUCCESS, "", ("s",)),
    )
    engine.flowing = [
        TargetState(
            Target(FLOWS, "flow", "clean-rates"),
            commit("rates"),
            subject="Rates of today",
            committed=now - timedelta(hours=1),
            updated=now - timedelta(hours=1),
            jobs=(JobState("publish", Status.SUCCESS, "passed in 2 s", (_TIDY,)),),
            graph=graph,
        )
    ]


def _machines(engine: FakeEngine, now: datetime) -> None:
    """A pool that is full, one that is not, a lock, and a farm of three machines."""
    busy = Target(SHOP, "pr", "318").path
    unit, browser = build_id(SHOP, "unit", busy), build_id(SHOP, "browser", busy)
    image = build_id(SHOP, "image", "next")
    engine.add_build(
        BuildState(
            image,
            Status.RUNNING,
            command="make image",
            queued=now,
            started=now - timedelta(hours=1),
        )
    )
    wheel, links = build_id(SHOP, "wheel", busy), build_id(SITE, "links", f"{SITE}/pr/12")
    engine.busy_pools = {
        "cpu": PoolState(2, (unit, browser), (wheel,)),
        "net": PoolState(1, (image,), (links,)),
        "browsers": PoolState(4, (browser,), ()),
    }
    engine.held_locks = {"deploy": LockState(None, ()), "staging": LockState(browser, (links,))}
    versions = "DataKit 0.1.0, Python 3.12.3, dask 2026.3.0"
    workers = (
        WorkerState(
            "farm-1", "tls://10.0.0.11:40001", {"cpu": 1, "browsers": 4}, (browser,), 1.2, 4,
            734_003_200, versions, seen=now - timedelta(seconds=1),
        ),
        WorkerState(
            "farm-2", "tls://10.0.0.12:40001", {"cpu": 1}, (unit,), 0.9, 4,
            1_250_000_000, versions, seen=now - timedelta(seconds=2),
        ),
        WorkerState(
            "farm-3", "tls://10.0.0.13:40001", {"cpu": 2}, (), 0.0, 8, 0,
            "DataKit 0.0.9, Python 3.11.9, dask 2026.3.0",
            "it has DataKit 0.0.9 and this service 0.1.0: upgrade it", now - timedelta(seconds=1),
        ),
    )  # fmt: skip
    engine.workers = Crew(workers, "", "tls://farm.example.org:8786")
