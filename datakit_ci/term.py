"""Terms: what a pipeline computes, as values that can be drawn before anything runs.

A :class:`Term` is a *static node*: an operation on other terms. Its *dynamic value*, a
:mod:`~datakit_ci.result`, is worked out by :mod:`~datakit_ci.evaluate` from facts. So the graph of
a target is known at once; only :meth:`Term.bind` and :func:`map_list` add to it as values arrive.

Terms are immutable and compared by identity. Two that do the same on the same inputs become one
node of the graph, and so does a term that is used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from datakit_ci.lookup import check_path
from datakit_ci.metadata import CommitStatus
from datakit_ci.moments import Schedule
from datakit_ci.need import BranchHead, NextCommit, TargetHead
from datakit_ci.operation import (
    All,
    Bind,
    Catch,
    CiStatus,
    Every,
    Fail,
    Gate,
    Head,
    JobName,
    Join,
    Map,
    Operation,
    PublishTree,
    RunStage,
    Source,
    State,
    Stuck,
    TreeOfCommit,
    Value,
    Wait,
    WithoutLogs,
    function_name,
)
from datakit_ci.result import Failed, Ok, Result
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target, TargetKind
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError, InvalidName

__all__ = [
    "Term",
    "all_",
    "branch",
    "branch_head",
    "catch",
    "ci_status",
    "ci_success_target_url",
    "ci_target_url",
    "every",
    "fail",
    "gate",
    "head",
    "head_as",
    "job_id",
    "join",
    "map_list",
    "next_commit",
    "pair",
    "pending",
    "publish_tree",
    "return_",
    "run_stage",
    "said_state",
    "said_url",
    "source",
    "state",
    "tag",
    "tree_of",
    "wait_for",
    "wait_for_all",
    "without_logs",
]

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Term(Generic[T_co]):
    """A value of type ``T`` that is there, is on its way, or will never be.

    Attributes:
        operation: What is done.
        inputs: With the results of which terms.
    """

    operation: Operation
    inputs: tuple[Term[object], ...] = ()

    def map(self, function: Callable[[T_co], U], label: str = "") -> Term[U]:
        """Apply ``function`` to the value.

        It runs inside the engine, possibly often: it must be quick, and depend on nothing else.
        An exception becomes a failure.
        """
        return Term(Map(function, label), (self,))

    def bind(self, function: Callable[[T_co], Term[U]], label: str = "") -> Term[U]:
        """Continue with the term that ``function`` makes of the value.

        What follows from the value is in the graph only once the value is known. ``function``
        must make the same term of the same value.
        """
        return Term(Bind(function, label), (self,))


def return_(value: T) -> Term[T]:
    """``value``, at once."""
    return Term(Value(value))


def fail(reason: str) -> Term[Any]:
    """A term that has failed for ``reason``."""
    return Term(Fail(_said(reason, "fail")))


def pending(reason: str) -> Term[Any]:
    """A term that waits for ``reason`` until the pipeline says something else."""
    return Term(Stuck(_said(reason, "pending")))


def _said(reason: str, function: str) -> str:
    if not reason.strip():
        raise ConfigError(f"{function}() needs a reason: people will read it")
    return reason


def state(term: Term[T]) -> Term[Result[T]]:
    """``term``'s result as a value: always succeeds."""
    return Term(State(), (term,))


def catch(term: Term[T]) -> Term[Ok[T] | Failed]:
    """``term``'s result as a value once there is one: pending as long as ``term`` is."""
    return Term(Catch(), (term,))


def pair(first: Term[T], second: Term[U]) -> Term[tuple[T, U]]:
    """Both values, worked out in parallel; an error beats pending."""
    return cast("Term[tuple[T, U]]", Term(All(), (first, second)))


def all_(terms: Iterable[Term[T]]) -> Term[tuple[T, ...]]:
    """The values of ``terms`` in their order, worked out in parallel; an error beats pending."""
    return Term(All(), tuple(terms))


def map_list(term: Term[Sequence[T]], function: Callable[[T], Term[U]]) -> Term[tuple[U, ...]]:
    """One term for each element of a list that is known only later; their values in order."""
    title = function_name(function)
    return term.bind(lambda values: all_([function(value) for value in values]), title)


def gate(value: Term[T], *conditions: Term[object]) -> Term[T]:
    """``value``, but only once all ``conditions`` have succeeded."""
    return Term(Gate(), (value, *conditions)) if conditions else value


def wait_for(term: Term[object], *, while_pending: str = "", on_failure: str = "") -> Term[None]:
    """Nothing, once ``term`` has succeeded.

    Args:
        term: What to wait for.
        while_pending: The reason to show while it is pending; empty: its own.
        on_failure: The reason to show when it fails; empty: its own.
    """
    return Term(Wait(("",), while_pending, on_failure), (term,))


def wait_for_all(terms: Mapping[str, Term[object]]) -> Term[None]:
    """Nothing, once all ``terms`` have succeeded; until then, which ones have not, by name."""
    return Term(Wait(tuple(terms)), tuple(terms.values()))


def without_logs(term: Term[T]) -> Term[T]:
    """``term``, with the builds behind it left out of the job's list."""
    return Term(WithoutLogs(), (term,))


def job_id() -> Term[str]:
    """The name of the job in which this term is used; differs from job to job."""
    return Term(JobName())


def source(target: Target, title: str = "") -> Term[Tree]:
    """The tree of ``target``'s head; ``title`` is empty only for the graph's own target."""
    return Term(Source(target, title))


def head(target: Target) -> Term[CommitId]:
    """The commit that a branch, tag or pull request is at."""
    return head_as(target, f"{target.project}:{target.short}")


def head_as(target: Target, title: str) -> Term[CommitId]:
    """As :func:`head`, under a ``title`` that is empty only for the graph's own target."""
    return Term(Head(TargetHead(target), title, f"there is no {target.short} in {target.project}"))


def branch_head(project: str, name: str) -> Term[CommitId]:
    """The head of a branch of ``project``'s repository."""
    return head(Target(project, TargetKind.BRANCH.value, name))


def tag(project: str, name: str) -> Term[CommitId]:
    """The commit of a tag of ``project``'s repository."""
    return head(Target(project, TargetKind.TAG.value, name))


def branch(name: str) -> Term[CommitId]:
    """The head of the database's own branch ``name``."""
    return Term(Head(BranchHead(name), name, f"there is no branch {name} in the database"))


def ci_status(context: str, target: Target) -> Term[str | None]:
    """What another CI says of ``target``'s head: ``pending success failure error``, or nothing.

    It has a value also while the other CI is at work. :func:`ci_success_target_url` waits.

    Args:
        context: The other CI's, such as ``ci/other/build``; its reports are followed live.
        target: Whose head; ``target.target`` is the one that is tested.
    """
    return _said_by(context, target).map(said_state, "state")


def ci_target_url(context: str, target: Target) -> Term[str | None]:
    """Where another CI says that people can read more of ``target``'s head, if it does."""
    return _said_by(context, target).map(said_url, "url")


def said_state(said: CommitStatus | None) -> str | None:
    """The state of a report; none if there is none."""
    return said.state if said else None


def said_url(said: CommitStatus | None) -> str | None:
    """The address of a report; none if there is none."""
    return (said and said.target_url) or None


def ci_success_target_url(context: str, target: Target) -> Term[str]:
    """The address of another CI's success for ``target``'s head.

    Pending until the other CI reports a success; a failure if it reports one.
    """
    return Term(CiStatus(target, _context(context), success=True))


def _said_by(context: str, target: Target) -> Term[CommitStatus | None]:
    return Term(CiStatus(target, _context(context)))


def _context(name: str) -> str:
    if not name.strip("/"):
        raise ConfigError("name the other CI's context, such as ci/other/build")
    return name.strip("/")


def next_commit(name: str, flow: str) -> Term[CommitId]:
    """The commit of the database's branch ``name`` that a flow has to go through next."""
    need = NextCommit(name, flow)
    return Term(Head(need, name, f"there is no branch {name} in the database"))


def publish_tree(
    operation: PublishTree, tree: Term[Tree], source: Term[CommitId] | Term[datetime]
) -> Term[CommitId]:
    """The commit of a branch that holds ``tree``; flows publish with it."""
    return Term(operation, (tree, source))


def tree_of(commit: Term[CommitId]) -> Term[Tree]:
    """The tree of a commit."""
    return Term(TreeOfCommit(), (commit,))


def every(schedule: str) -> Term[datetime]:
    """The last moment of a schedule, UTC; a new one comes as soon as it is reached.

    Args:
        schedule: A time such as ``1h``; or five fields of cron and perhaps a time zone, such as
            ``0 3 * * 1-5 Europe/Berlin``; without one they are in UTC.

    Raises:
        ConfigError: It is no schedule.
    """
    return Term(Every(Schedule(schedule).text))


def run_stage(spec: StageSpec, tree: Term[Tree], since: Term[datetime] | None = None) -> Term[Tree]:
    """The output of the stage ``spec`` for ``tree``; pipelines call the stage itself.

    A result does not count if it was begun before ``since``.
    """
    return Term(RunStage(spec), (tree,) if since is None else (tree, since))


def join(parts: Mapping[str, Term[Tree]]) -> Term[Tree]:
    """One tree with each part at its path.

    Args:
        parts: Trees by path. ``""`` is the ground on which the others stand; a part replaces
            whatever was at its path.

    Raises:
        ConfigError: There are no parts, or a path leads out of the tree.
    """
    if not parts:
        raise ConfigError("join() needs at least one part")
    try:
        paths = sorted(check_path(path) for path in parts)
    except InvalidName as error:
        raise ConfigError(f"join(): {error}") from error
    if paths == [""]:
        return parts[""]
    return Term(Join(tuple(paths)), tuple(parts[path] for path in paths))
