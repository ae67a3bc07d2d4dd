"""From the engine's values to what the API says of them: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from datakit_ci.archive import Dossier
from datakit_ci.dashboard.api.addresses import build_url, project_url, quoted, target_url
from datakit_ci.dashboard.api.models import (
    BuildRecord,
    BuildRef,
    ExplanationRecord,
    FileRecord,
    JobRecord,
    JobWhyRecord,
    LockRecord,
    NodeRecord,
    PoolRecord,
    ProjectRecord,
    ReasonRecord,
    ResultRecord,
    Ruled,
    TargetRecord,
    TargetSummary,
)
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, TargetState
from datakit_core.client.api import Entry, FileMode

__all__ = [
    "build_record",
    "build_ref",
    "explanation_record",
    "file_record",
    "job_record",
    "job_why_record",
    "lock_record",
    "pool_record",
    "project_record",
    "result_record",
    "target_record",
    "target_summary",
    "text",
]


_KINDS: Mapping[FileMode, Literal["file", "executable", "link", "directory", "submodule"]] = {
    FileMode.NORMAL: "file",
    FileMode.EXECUTABLE: "executable",
    FileMode.LINK: "link",
    FileMode.DIRECTORY: "directory",
    FileMode.SUBMODULE: "submodule",
}


def text(raw: str) -> str:
    """What can be said in UTF-8 of a text that may hold any bytes."""
    return raw.encode(errors="surrogateescape").decode(errors="replace")


def project_record(
    project: str, states: Iterable[TargetState], ruling: Ruling | None
) -> ProjectRecord:
    """A project with its targets counted."""
    counts = Counter(state.status.value for state in states)
    return ProjectRecord(
        id=text(project),
        url=project_url(project),
        page=path_of(project),
        targets=dict(counts),
        paused=None if ruling is None else Ruled(user=text(ruling.user), time=ruling.time),
    )


def build_ref(build: BuildId) -> BuildRef:
    """A build's name."""
    return BuildRef(**_named(build))


def _named(build: BuildId) -> dict[str, str]:
    return {
        "project": text(build.project),
        "stage": text(build.stage),
        "static": build.static,
        "key": build.key,
        "url": build_url(build),
        "page": path_of("build", build.path),
    }


def job_record(job: JobState) -> JobRecord:
    """A job."""
    return JobRecord(
        name=text(job.name),
        status=job.status,
        description=text(job.description),
        builds=[build_ref(build) for build in job.builds],
    )


def _node(node: GraphNode) -> NodeRecord:
    return NodeRecord(
        id=text(node.id),
        label=text(node.label),
        kind=node.kind,
        status=node.status,
        reason=text(node.reason),
        inputs=[text(each) for each in node.inputs],
        build=None if node.build is None else build_ref(node.build),
        jobs=[text(each) for each in node.jobs],
    )


def target_summary(state: TargetState) -> TargetSummary:
    """A target in short."""
    target = state.target
    return TargetSummary(
        project=text(target.project),
        kind=target.kind_value,
        name=text(target.name),
        url=target_url(target),
        page=path_of(target.path),
        status=state.status,
        head=state.head,
        title=text(state.title),
        subject=text(state.subject),
        author=text(state.author),
        committed=state.committed,
        updated=state.updated,
        problem=text(state.problem),
        counts=dict(Counter(job.status.value for job in state.jobs)),
    )


def target_record(state: TargetState) -> TargetRecord:
    """A target with its jobs and its pipeline."""
    return TargetRecord(
        **dict(target_summary(state)),
        jobs=[job_record(job) for job in state.jobs],
        graph=[_node(node) for node in state.graph],
    )


def build_record(build: BuildState) -> BuildRecord:
    """A build."""
    return BuildRecord(
        **_named(build.id),
        status=build.status,
        reason=text(build.reason),
        command=text(build.command),
        input=build.input,
        output=build.output,
        queued=build.queued,
        started=build.started,
        finished=build.finished,
        exit_status=build.exit_status,
        log_size=build.log_size,
        details=_texts(build.details),
    )


def result_record(dossier: Dossier) -> ResultRecord:
    """A recorded result."""
    return ResultRecord(**dict(build_record(dossier.state)), commit=dossier.commit)


def file_record(build: BuildId, which: str, path: str, entry: Entry) -> FileRecord:
    """What is at ``path`` of one of a build's trees."""
    where = "artefacts" if entry.is_directory else "files"
    return FileRecord(
        name=text(path.rpartition("/")[2]),
        kind=_KINDS[entry.mode],
        id=entry.id,
        url=f"{build_url(build)}/{where}/{which}/{quoted(path)}",
    )


def _texts(pairs: Mapping[str, str]) -> dict[str, str]:
    return {text(name): text(value) for name, value in pairs.items()}


def explanation_record(why: Explanation) -> ExplanationRecord:
    """Why a build ran or waits."""
    return ExplanationRecord(
        label=text(why.label),
        verdict=why.verdict,
        reasons=[
            ReasonRecord(
                kind=reason.kind,
                text=text(reason.text),
                subject=text(reason.subject),
                old=text(reason.old),
                new=text(reason.new),
                builds=[build_ref(build) for build in reason.builds],
                user=text(reason.user),
            )
            for reason in why.reasons
        ],
        build=None if why.build is None else build_ref(why.build),
        before=None if why.before is None else build_ref(why.before),
    )


def job_why_record(why: JobWhy) -> JobWhyRecord:
    """Why a job stands where it stands."""
    return JobWhyRecord(
        target=text(why.target),
        job=text(why.job),
        status=why.status,
        description=text(why.description),
        steps=[explanation_record(step) for step in why.steps],
    )


def pool_record(name: str, pool: PoolState) -> PoolRecord:
    """A pool."""
    return PoolRecord(
        name=text(name),
        capacity=pool.capacity,
        busy=[build_ref(build) for build in pool.busy],
        queue=[build_ref(build) for build in pool.queue],
    )


def lock_record(name: str, lock: LockState) -> LockRecord:
    """A lock."""
    return LockRecord(
        name=text(name),
        holder=None if lock.holder is None else build_ref(lock.holder),
        queue=[build_ref(build) for build in lock.queue],
    )
