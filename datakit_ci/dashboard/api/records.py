"""From the engine's values to what the API says of them: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from datakit_ci.dashboard.api.models import (
    BuildRecord,
    BuildRef,
    ExplanationRecord,
    JobRecord,
    JobWhyRecord,
    LockRecord,
    NodeRecord,
    PoolRecord,
    ProjectRecord,
    ReasonRecord,
    Ruled,
    TargetRecord,
    TargetSummary,
)
from datakit_ci.dashboard.api.problem import PREFIX
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, TargetState
from datakit_ci.target import Target

__all__ = [
    "build_record",
    "build_ref",
    "build_url",
    "explanation_record",
    "job_record",
    "job_why_record",
    "lock_record",
    "pool_record",
    "project_record",
    "project_url",
    "target_record",
    "target_summary",
    "target_url",
    "text",
]


def text(raw: str) -> str:
    """What can be said in UTF-8 of a text that may hold any bytes."""
    return raw.encode(errors="surrogateescape").decode(errors="replace")


def project_url(project: str) -> str:
    """The address of a project."""
    return f"{PREFIX}/projects{path_of(project)}"


def target_url(target: Target) -> str:
    """The address of a target."""
    return f"{project_url(target.project)}/targets/{target.kind_value}/{_quoted(target.name)}"


def build_url(build: BuildId) -> str:
    """The address of a build."""
    place = f"{_quoted(build.stage)}/{build.static}/{build.key}"
    return f"{project_url(build.project)}/builds/{place}"


def _quoted(name: str) -> str:
    return quote(name.encode(errors="surrogateescape"), safe="")


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
        subject=text(state.subject),
        author=text(state.author),
        committed=state.committed,
        updated=state.updated,
        problem=text(state.problem),
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
