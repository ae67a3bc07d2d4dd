"""Other repositories as terms, with real Git: over files and its own protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, Term, fail, shell
from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.need import Fetched
from datakit_ci.plugins.git import Remote, is_after
from datakit_ci.state import JobState, Status
from datakit_ci.target import Target
from datakit_core.errors import ConfigError
from tests.support.bench import Bench, open_bench
from tests.support.branches import commit_files
from tests.support.daemon import git_daemon
from tests.support.git import commit_file, git

MAIN = Target("me/app", "heads", "main")

Jobs = Callable[[TargetTerms], Mapping[str, Term[object]]]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with two commits on main, a tag, a pull request, and Git's own word for all."""
    path = tmp_path / "origin"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit_file(path, "file", b"one\n")
    git(path, "tag", "-a", "-m", "The first", "v1")
    commit_file(path, "file", b"two\n")
    git(path, "update-ref", "refs/pull/7/head", "HEAD")
    return path


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def running(bench: Bench, jobs: Jobs) -> AsyncIterator[Engine]:
    head = await commit_files(bench.database, "source", {"a": b"a"})
    config = Config(projects=[Project("me/app", jobs)])
    heads = FixedHeads({MAIN: head})
    logs = bench.directory / "logs"
    async with (
        Engine(bench.database, config, bench.executor, logs, heads=heads) as engine,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(engine.run())
        await engine.idle()
        yield engine
        task.cancel()


def job(engine: Engine, name: str) -> JobState:
    state = engine.target(MAIN)
    assert state is not None
    assert not state.problem
    return next(each for each in state.jobs if each.name == name)


async def log_of(engine: Engine, name: str) -> list[str]:
    build = job(engine, name).builds[-1]
    pieces = [piece async for piece in engine.follow_log(build)]
    return b"".join(pieces).decode().splitlines()


show = shell("show", "cat file")


@pytest.mark.parametrize("protocol", ["path", "file", "git"])
async def test_a_command_runs_in_a_checkout_of_any_ref(
    bench: Bench, origin: Path, protocol: str
) -> None:
    first = git(origin, "rev-parse", "v1^{commit}")

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        remote = Remote(url)
        return {
            "branch": show(remote.tree("refs/heads/main")),
            "tag": show(remote.tree("refs/tags/v1")),
            "request": show(remote.tree("refs/pull/7/head")),
            "commit": show(remote.tree(first)),
        }

    async with git_daemon(origin.parent) as daemon:
        url = {"path": str(origin), "file": f"file://{origin}", "git": f"{daemon}/origin"}[protocol]
        async with running(bench, jobs) as engine:
            shown = {name: (await log_of(engine, name))[-1] for name in jobs(TargetTerms(MAIN))}
    assert shown == {"branch": "two", "tag": "one", "request": "two", "commit": "one"}


async def test_a_ref_that_moves_is_followed(bench: Bench, origin: Path) -> None:
    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"show": show(Remote(str(origin), every=0.05).tree("refs/heads/main"))}

    async with running(bench, jobs) as engine:
        before = job(engine, "show").builds
        commit_file(origin, "file", b"three\n")
        async for _ in engine.changes():
            state = job(engine, "show")
            if state.builds != before and state.status is Status.SUCCESS:
                break
        assert (await log_of(engine, "show"))[-1] == "three"


async def test_one_commit_is_after_another(bench: Bench, origin: Path) -> None:
    remote = Remote(str(origin))
    main, tag = remote.branch("main"), remote.tag("v1")

    def said(newer: Term[object], older: Term[object]) -> Term[object]:
        return is_after(newer, older).map(str).bind(_as_failure)  # type: ignore[arg-type]

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"yes": said(main, tag), "no": said(tag, main), "same": said(tag, tag)}

    async with running(bench, jobs) as engine:
        found = {name: job(engine, name).description for name in ("yes", "no", "same")}
    assert found == {"yes": "True", "no": "False", "same": "True"}


def _as_failure(text: str) -> Term[object]:
    return fail(text)


async def test_what_cannot_be_fetched_is_an_error_without_the_password(
    bench: Bench, origin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {
            "ref": Remote(str(origin)).branch("none"),
            "host": Remote("https://me:hunter22@127.0.0.1:1/x").branch("main"),
        }

    with caplog.at_level(logging.DEBUG):
        async with running(bench, jobs) as engine:
            for name in ("ref", "host"):
                assert job(engine, name).status is Status.ERROR
            assert "cannot fetch refs/heads/none" in job(engine, "ref").description
            state = engine.target(MAIN)
            assert "hunter22" not in repr(state)
    assert "hunter22" not in caplog.text
    assert "hunter22" not in repr(Fetched("https://me:hunter22@host/x", "refs/heads/main", 1.0))
    assert "hunter22" not in repr(Remote("https://me:hunter22@host/x"))


async def test_submodules_are_left_out_and_named_in_the_log(bench: Bench, origin: Path) -> None:
    commit = git(origin, "rev-parse", "HEAD")
    (origin / ".gitmodules").write_text('[submodule "m"]\n\tpath = module\n\turl = ../m\n')
    git(origin, "add", ".gitmodules")
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{commit},module")
    git(origin, "commit", "-q", "-m", "Add a submodule")
    look = shell("look", "ls")

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"look": look(Remote(str(origin)).tree("refs/heads/main"))}

    async with running(bench, jobs) as engine:
        said = await log_of(engine, "look")
        assert said == ["[datakit-ci] left out: the submodules module", "$ ls", "file"]


async def test_a_shallow_repository_is_refused_with_a_clear_word(
    bench: Bench, origin: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", "shallow")

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"head": Remote(str(tmp_path / "shallow")).branch("main")}

    async with running(bench, jobs) as engine:
        found = job(engine, "head")
    assert found.status is Status.ERROR
    assert found.description.endswith("if it is shallow, run there: git fetch --unshallow")


@pytest.mark.parametrize("ref", ["main", "HEAD", "abc123", ""])
def test_only_full_names_are_taken(ref: str) -> None:
    with pytest.raises(ConfigError, match="is not a full ref name: write branch"):
        Remote("/nowhere").commit(ref)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        Remote("/nowhere", every="often")
