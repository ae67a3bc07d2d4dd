"""What the engine tells the world: statuses of commits, history of targets, and not too often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci.filing import Folder, write_files
from datakit_ci.heads import MetadataHeads
from datakit_ci.history import INDEX_BRANCH, History
from datakit_ci.metadata import BRANCH
from datakit_ci.publisher import Published, Publisher
from datakit_ci.pulse import Pulse
from datakit_ci.state import BuildId, GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database, ObjectId, TreeId
from datakit_core.errors import NotDirectory
from datakit_core.store.objects import EMPTY_TREE
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.databases import BACK_ENDS

MAIN = Target("me/app", "heads", "main")
PULL = Target("me/app", "pr", "7")
HEAD = CommitId(ObjectId("a" * 40))
OTHER = CommitId(ObjectId("b" * 40))
BUILD = BuildId("me/app", "lint", "c" * 64, "d" * 64)

LINT = JobState("lint", Status.SUCCESS, "passed", (BUILD,))
UNIT = JobState("unit", Status.RUNNING, "running")


def state(target: Target, *jobs: JobState, head: CommitId = HEAD) -> TargetState:
    return TargetState(target, head, jobs=jobs)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield database


async def test_history_has_one_commit_for_each_change(database: Database) -> None:
    history = History(database)
    waiting = JobState("unit", Status.WAITING, "waits")
    for jobs in ((LINT, waiting), (LINT, waiting), (LINT, UNIT)):
        await history.record(state(MAIN, *jobs), OTHER, {BUILD: EMPTY_TREE})
    assert await messages_of(database, MAIN.status_branch) == [
        "lint: success, unit: running",
        "lint: success, unit: waiting",
    ]
    files = await files_of(database, MAIN.status_branch)
    assert sorted(files) == [
        "job/lint/output",
        "job/unit/output",
        "metadata-commit",
        "source-commit",
    ]
    assert json.loads(files["job/lint/output"]) == {
        "version": 1,
        "result": {"status": "success", "descr": "passed"},
        "builds": [
            {
                "project": "me/app",
                "stage": "lint",
                "static": BUILD.static,
                "key": BUILD.key,
                "tree": EMPTY_TREE,
            }
        ],
    }


async def test_another_metadata_commit_alone_is_no_change(database: Database) -> None:
    history = History(database)
    first = await history.record(state(MAIN, LINT), HEAD, {})
    assert await history.record(state(MAIN, LINT), OTHER, {}) == first


async def test_the_index_leads_from_a_source_commit_to_its_newest_states(
    database: Database,
) -> None:
    async with Publishing.at_work(database) as publishing:
        for states in ([state(MAIN, UNIT)], [state(MAIN, LINT), state(PULL, LINT)]):
            publishing.show(*states)
            await publishing.written()
        newest = await database.head(MAIN.status_branch)
        publishing.show(state(MAIN, LINT, head=OTHER))
        await publishing.written()
    assert await files_of(database, INDEX_BRANCH) == {
        f"aa/{HEAD}/{MAIN.status_branch}": f"{newest}\n",
        f"aa/{HEAD}/{PULL.status_branch}": f"{await database.head(PULL.status_branch)}\n",
        f"bb/{OTHER}/{MAIN.status_branch}": f"{await database.head(MAIN.status_branch)}\n",
    }
    assert len(await messages_of(database, INDEX_BRANCH)) == 3


async def test_an_index_that_was_not_written_is_repaired(database: Database) -> None:
    commit = await History(database).record(state(MAIN, LINT), None, {})
    async with Publishing.at_work(database) as publishing:
        publishing.show(state(MAIN, LINT))
        await publishing.written()
    assert await files_of(database, INDEX_BRANCH) == {
        f"aa/{HEAD}/{MAIN.status_branch}": f"{commit}\n"
    }


async def test_a_job_with_an_impossible_name_is_reported_and_does_not_hold_up_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    odd = JobState("lint/output", Status.SUCCESS, "passed")
    async with Publishing.at_work(database) as publishing:
        publishing.show(state(MAIN, LINT, odd))
        await publishing.written()
        publishing.show(state(PULL, UNIT))
        await publishing.written()
    assert "impossible name" in caplog.text
    assert f"{STATUS}/unit/state" in await files_of(database, BRANCH)


async def test_another_engines_jobs_are_left_alone(database: Database) -> None:
    await commit_files(database, MAIN.status_branch, {"job/theirs/output": b"{}"})
    await History(database).record(state(MAIN, LINT), None, {})
    assert "job/theirs/output" in await files_of(database, MAIN.status_branch)


async def test_written_files_can_also_be_absent(database: Database) -> None:
    assert await write_files(database, "b", {"gone": None}, "Nothing") is None
    await write_files(database, "b", {"kept": b"1", "gone": b"1"}, "Both")
    assert await write_files(database, "b", {"kept": b"1", "gone": None}, "One") is not None
    assert await files_of(database, "b") == {"kept": "1"}


async def test_a_new_directory_that_is_like_one_beside_it_is_that_one(database: Database) -> None:
    said = {f"{job}/state": f"{job}\n".encode() for job in range(30)}
    for commit in "old", "new", "other":
        files = {f"commit/{commit}/{path}": data for path, data in said.items()}
        if commit == "other":
            files["commit/other/7/state"] = b"failure\n"
        await write_files(database, "b", dict(files), f"Say something of {commit}")
    written = await files_of(database, "b")
    head = await database.head("b")
    assert head is not None
    beside = await database.tree((await database.commit(head)).tree)
    commits = await database.tree(TreeId(beside["commit"].id))
    assert commits["old"] == commits["new"]
    assert commits["other"] != commits["new"]
    assert written == {
        f"commit/{commit}/{path}": (
            "failure\n" if (commit, path) == ("other", "7/state") else data.decode()
        )
        for commit in ("old", "new", "other")
        for path, data in said.items()
    }


async def test_a_folder_that_is_there_already_or_like_one_beside_it_is_not_looked_through(
    database: Database,
) -> None:
    folder = Folder({f"{job}/state": f"{job}\n".encode() for job in range(30)} | {"gone": None})
    paths = [f"commit/{name}" for name in ("old", "new", "other", "old")]
    await commit_files(database, "b", {"commit/other/theirs": b"1"})
    commits = [
        await write_files(database, "b", {}, f"Say something of {path}", folders={path: folder})
        for path in paths
    ]
    assert [commit is not None for commit in commits] == [True, True, True, False]
    said = {path: data.decode() for path, data in folder.files.items() if data is not None}
    assert await files_of(database, "b") == {
        "commit/other/theirs": "1",
        **{f"{commit}/{path}": text for commit in paths for path, text in said.items()},
    }


async def test_of_many_jobs_only_what_has_changed_is_written(database: Database) -> None:
    jobs = [JobState(f"job{number}", Status.SUCCESS, "passed") for number in range(30)]
    theirs = {f"me/app/commit/{OTHER}/status/ci/other/state": b"success\n"}
    await commit_files(database, BRANCH, dict(theirs))
    async with Publishing.at_work(database) as publishing:
        for head in HEAD, OTHER, HEAD:
            publishing.show(state(MAIN, *jobs, head=head))
            await publishing.written()
        jobs[7] = JobState("job7", Status.FAILURE, "wrong")
        publishing.show(state(MAIN, *jobs))
        await publishing.written()
    files = dict(await files_of(database, BRANCH))
    assert files.pop(f"me/app/commit/{OTHER}/status/ci/other/state") == "success\n"
    assert files == {
        f"me/app/commit/{head}/status/ci/datakit/{job.name}/{name}": f"{text}\n"
        for head, seven in ((HEAD, jobs[7]), (OTHER, JobState("job7", Status.SUCCESS, "passed")))
        for job in [*jobs[:7], seven, *jobs[8:]]
        for name, text in (("state", job.status.value), ("description", job.description))
    }
    recorded = await files_of(database, MAIN.status_branch)
    assert recorded["source-commit"] == f"{HEAD}\n"
    assert {
        job.name: json.loads(recorded[f"job/{job.name}/output"])["result"]["descr"] for job in jobs
    } == {job.name: job.description for job in jobs}


async def test_what_somebody_else_does_to_a_history_is_put_right(database: Database) -> None:
    history, branch = History(database), MAIN.status_branch
    graph = (GraphNode("stage:lint", "lint", "stage", Status.SUCCESS),)
    drawn = replace(state(MAIN, LINT, UNIT), graph=graph)
    await history.record(drawn, None, {})
    picture = {
        path: text for path, text in (await files_of(database, branch)).items() if "/" in path
    }
    await commit_files(database, branch, {"job/lint/output": b"{}", "graph": None})
    await history.record(replace(drawn, head=OTHER), None, {})
    files = await files_of(database, branch)
    assert files == {**picture, "source-commit": f"{OTHER}\n"}


async def test_another_output_of_a_build_is_a_change(database: Database) -> None:
    history, branch = History(database), MAIN.status_branch
    other = TreeId(ObjectId("e" * 40))
    for trees in {BUILD: EMPTY_TREE}, {BUILD: other}, {BUILD: other}:
        await history.record(state(MAIN, LINT), None, trees)
    assert len(await messages_of(database, branch)) == 2
    assert other in (await files_of(database, branch))["job/lint/output"]


async def test_a_file_in_the_way_of_many_is_not_replaced(database: Database) -> None:
    await write_files(database, "b", {"taken": b"1"}, "A file")
    with pytest.raises(NotDirectory):
        await write_files(database, "b", {f"taken/{n}": b"1" for n in range(30)}, "Many below it")
    assert await files_of(database, "b") == {"taken": "1"}


class Publishing:
    """A publisher at work."""

    def __init__(self, database: Database, url: str, shown: Sequence[TargetState]) -> None:
        self._settled = Pulse()
        self.shown = list(shown)
        self.publisher = Publisher(
            database, url, lambda head: [each for each in self.shown if each.head == head]
        )

    async def written(self) -> None:
        while True:
            change = self._settled.next
            if self.publisher.idle:
                return
            await change.wait()

    def show(self, *states: TargetState) -> None:
        self.shown = list(states)
        for each in states:
            self.publisher.mark(Published(each, None, {}))

    @classmethod
    @asynccontextmanager
    async def at_work(cls, database: Database, url: str = "") -> AsyncIterator[Publishing]:
        publishing = cls(database, url, [])
        async with asyncio.TaskGroup() as group:
            task = group.create_task(publishing.publisher.run(publishing._settled.beat))
            yield publishing
            task.cancel()


STATUS = f"me/app/commit/{HEAD}/status/ci/datakit"


async def test_statuses_are_written_in_one_commit_and_only_on_change(database: Database) -> None:
    async with Publishing.at_work(database, "http://ci") as publishing:
        publishing.show(state(MAIN, LINT, UNIT))
        publishing.show(state(MAIN, LINT, UNIT), state(PULL, LINT, head=OTHER))
        await publishing.written()
        before = await database.branches()
        publishing.show(state(MAIN, LINT, UNIT))
        await publishing.written()
    assert await database.branches() == before
    assert await messages_of(database, BRANCH) == ["Update statuses"]
    assert await files_of(database, BRANCH) == {
        f"{STATUS}/lint/state": "success\n",
        f"{STATUS}/lint/description": "passed\n",
        f"{STATUS}/lint/target_url": "http://ci/me/app/ref/heads/main\n",
        f"{STATUS}/unit/state": "pending\n",
        f"{STATUS}/unit/description": "running\n",
        f"{STATUS}/unit/target_url": "http://ci/me/app/ref/heads/main\n",
        f"me/app/commit/{OTHER}/status/ci/datakit/lint/state": "success\n",
        f"me/app/commit/{OTHER}/status/ci/datakit/lint/description": "passed\n",
        f"me/app/commit/{OTHER}/status/ci/datakit/lint/target_url": "http://ci/me/app/pr/7\n",
    }


async def test_targets_at_one_commit_do_not_take_turns_in_its_status(database: Database) -> None:
    async with Publishing.at_work(database, "http://ci") as publishing:
        publishing.show(state(MAIN, LINT), state(PULL, LINT, UNIT))
        await publishing.written()
        publishing.publisher.mark(Published(publishing.shown[1], None, {}))
        await publishing.written()
    assert len(await messages_of(database, BRANCH)) == 1
    files = await files_of(database, BRANCH)
    assert files[f"{STATUS}/lint/target_url"] == "http://ci/me/app/ref/heads/main\n"
    assert files[f"{STATUS}/unit/target_url"] == "http://ci/me/app/pr/7\n"


async def test_what_bridges_write_meanwhile_is_kept(database: Database) -> None:
    await commit_files(database, BRANCH, {"me/app/ref/heads/main/head": f"{HEAD}\n".encode()})
    async with Publishing.at_work(database) as publishing:
        publishing.show(state(MAIN, LINT))
        await publishing.written()
    files = await files_of(database, BRANCH)
    assert files["me/app/ref/heads/main/head"] == f"{HEAD}\n"
    assert f"{STATUS}/lint/state" in files
    assert f"{STATUS}/lint/target_url" not in files


async def test_a_dropped_target_is_not_published(database: Database) -> None:
    async with Publishing.at_work(database) as publishing:
        publishing.show(state(MAIN, LINT))
        publishing.publisher.drop(MAIN)
        publishing.show(state(PULL, LINT, head=OTHER))
        await publishing.written()
    assert MAIN.status_branch not in await database.branches()


async def test_heads_of_branches_tags_and_open_pull_requests_are_targets(
    database: Database,
) -> None:
    head, other = f"{HEAD}\n".encode(), f"{OTHER}\n".encode()
    await commit_files(
        database,
        BRANCH,
        {
            "me/app/.monitor": b"",
            "me/app/ref/heads/main/head": head,
            "me/app/ref/heads/topic/one/head": other,
            "me/app/ref/tags/v1/head": head,
            "me/app/ref/heads/broken/head": b"nonsense",
            "me/app/pr/7/head": head,
            "me/app/pr/7/state": b"open\n",
            "me/app/pr/8/head": head,
            "me/app/pr/8/state": b"closed\n",
            f"me/app/commit/{HEAD}/status/ci/head": head,
            "you/lib/ref/heads/main/head": other,
        },
    )
    heads = MetadataHeads(database).watch()
    first = await anext(heads)
    assert first.metadata == await database.head(BRANCH)
    assert first.moved is None
    assert first.commits == {
        MAIN: HEAD,
        Target("me/app", "heads", "topic/one"): OTHER,
        Target("me/app", "tags", "v1"): HEAD,
        PULL: HEAD,
        Target("you/lib", "heads", "main"): OTHER,
    }
    await commit_files(database, BRANCH, {"me/app/pr/7": None, "me/app/ref/tags/v1/head": other})
    second = await anext(heads)
    assert second.moved == frozenset((PULL, Target("me/app", "tags", "v1")))
    assert PULL not in second.commits
    assert second.commits[Target("me/app", "tags", "v1")] == OTHER
    assert len(second.commits) == 4
    await heads.aclose()  # type: ignore[attr-defined]


async def test_only_what_changes_is_told(database: Database) -> None:
    head, other = f"{HEAD}\n".encode(), f"{OTHER}\n".encode()
    deep = Target("me/app", "heads", "a/b/c")
    files = {f"{target.path}/head": head for target in (MAIN, PULL, deep)}
    await commit_files(database, BRANCH, {**files, "you/lib/pr/1/head": head})
    heads = MetadataHeads(database).watch()
    assert len((await anext(heads)).commits) == 4
    changes: list[tuple[dict[str, bytes | None], dict[Target, CommitId | None]]] = [
        ({f"me/app/commit/{HEAD}/status/ci/x/state": b"success\n"}, {}),
        ({f"{deep.path}/head": other}, {deep: OTHER}),
        ({f"{deep.path}/head": head, f"{PULL.path}/title": b"A title\n"}, {deep: HEAD, PULL: HEAD}),
        ({f"{PULL.path}/state": b"closed\n"}, {PULL: None}),
        ({f"{PULL.path}/state": b"open\n"}, {PULL: HEAD}),
        ({"you": None}, {Target("you/lib", "pr", "1"): None}),
        ({"you/lib/pr/1/head": other}, {Target("you/lib", "pr", "1"): OTHER}),
        ({f"{MAIN.path}/head": b"damaged\n"}, {MAIN: None}),
    ]
    for change, moved in changes:
        await commit_files(database, BRANCH, change)
        told = await anext(heads)
        assert told.moved is not None
        assert {target: told.commits.get(target) for target in told.moved} == moved, change
    await heads.aclose()  # type: ignore[attr-defined]


async def test_it_is_told_of_which_commits_something_is_said(database: Database) -> None:
    files = {f"{MAIN.path}/head": f"{HEAD}\n".encode()}
    await commit_files(database, BRANCH, files)
    heads = MetadataHeads(database).watch()
    assert (await anext(heads)).said is None
    for path, said in (
        (f"me/app/commit/{HEAD}/status/ci/x/state", {HEAD}),
        (f"me/app/commit/{OTHER}/status/ci/x/state", {OTHER}),
        (f"me/app/commit/{OTHER}/status/ci/y/state", {OTHER}),
        (f"me/app/commit/{OTHER}/status/ci/y/description", {OTHER}),
        (f"{PULL.path}/head", set()),
    ):
        await commit_files(database, BRANCH, {path: f"{HEAD}\n".encode()})
        assert (await anext(heads)).said == frozenset(("me/app", commit) for commit in said)
    await heads.aclose()  # type: ignore[attr-defined]


async def test_without_metadata_there_are_no_targets(database: Database) -> None:
    heads = MetadataHeads(database).watch()
    first = await anext(heads)
    assert (first.metadata, first.commits) == (None, {})
    await heads.aclose()  # type: ignore[attr-defined]
