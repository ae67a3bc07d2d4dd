"""Projects: what a pipeline module declares, and what it makes of a target."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from datakit_ci.acl import Acl, Rights, Rules, check_people, nobody
from datakit_ci.conditions import Conditions
from datakit_ci.flow import Flow, check_flows
from datakit_ci.graph import Graph
from datakit_ci.lookup import check_path
from datakit_ci.notice import Mail, Slack
from datakit_ci.operation import RunStage
from datakit_ci.options import check_name
from datakit_ci.pipeline import import_pipeline, located
from datakit_ci.place import place
from datakit_ci.policy import Level, Policy
from datakit_ci.policy_options import check_level
from datakit_ci.pullrequest import Forks
from datakit_ci.retention import Retention
from datakit_ci.secrets import Secret
from datakit_ci.spec import DEFAULT_POOL, StageSpec
from datakit_ci.stage import Stage
from datakit_ci.target import FLOWS, Target, TargetKind
from datakit_ci.term import Term, head_as, source
from datakit_ci.tree import Tree
from datakit_ci.webhook import Webhook
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError, InvalidName

__all__ = [
    "PIPELINES",
    "Config",
    "Jobs",
    "Project",
    "TargetTerms",
    "load_jobs",
    "load_pipeline",
    "stages",
]

PIPELINES = "pipelines"
"""The pool of the processes that import pipelines from trees; their wait is nobody else's."""

_PIPELINES_AT_ONCE = 2

_FIELDS = frozenset(("description", "output", "state", "target_url"))
"""Files of a job: a job ``lint/output`` would be where those of a job ``lint`` are."""

_PROJECT = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+\Z")


@dataclass(frozen=True, slots=True)
class TargetTerms:
    """What ``jobs(target)`` is given: the target, and terms for what it holds.

    Attributes:
        target: Which branch, tag or pull request.
    """

    target: Target

    @property
    def source(self) -> Term[Tree]:
        """The tree of the target's head."""
        return source(self.target)

    @property
    def head(self) -> Term[CommitId]:
        """The commit at the target's head."""
        return head_as(self.target, "")


Jobs: TypeAlias = Callable[[TargetTerms], Mapping[str, Term[Any]]]
"""A pipeline's function from a target to its jobs, by name."""


@dataclass(frozen=True, slots=True)
class Project:
    """A repository that is tested, and how.

    Attributes:
        id: ``USER/REPO``.
        jobs: Makes the jobs of a target. It is called for every target, before its head is known,
            and must only put terms together.
        dashboards: Branches to show first.
        retention: How long its results are kept, if not as the others'.
        pipeline: Instead of ``jobs``: the path of a file in the repository, which has that
            function. Each target is judged by its own.
        forks: What becomes of pull requests from forks: ``approve``, ``approve_once``, ``never``
            or ``trusted``.
        secrets: The names of secrets that a pipeline in the repository may ask for.
        can_read, can_build, can_admin: Who may see it, start and stop its builds, and administer
            it; what is not given is as the configuration has it.
    """

    id: str
    jobs: Jobs | None = None
    dashboards: Sequence[str] = ()
    retention: Retention | None = None
    _: KW_ONLY
    pipeline: str = ""
    forks: str | Forks = Forks.APPROVE
    secrets: Sequence[str] = ()
    can_read: Acl | None = None
    can_build: Acl | None = None
    can_admin: Acl | None = None

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        if not isinstance(self.id, str) or not _PROJECT.match(self.id):
            raise ConfigError(f"{self.id!r} is not a project: write USER/REPO")
        if self.jobs is None or self.pipeline:
            self._check_pipeline()
        elif not callable(self.jobs):
            raise ConfigError(f"project {self.id}: jobs must be a function of the target")
        if isinstance(self.dashboards, str):
            raise ConfigError(f"project {self.id}: dashboards is a list of branch names")
        if self.forks not in [*Forks, *(each.value for each in Forks)]:
            known = ", ".join(each.value for each in Forks)
            raise ConfigError(f"project {self.id}: forks: {self.forks!r} is none of {known}")
        if isinstance(self.secrets, str):
            raise ConfigError(f"project {self.id}: secrets is a list of names, not one text")
        _check_retention(f"project {self.id}: ", self.retention)
        check_people(f"project {self.id}: ", self)

    def _check_pipeline(self) -> None:
        if self.jobs is not None or not self.pipeline:
            raise ConfigError(
                f"project {self.id}: give either jobs, a function of the target, or pipeline=, "
                "the path of a file in the repository"
            )
        try:
            check_path(self.pipeline)
        except (InvalidName, AttributeError) as error:
            raise ConfigError(f"project {self.id}: pipeline: {error}") from error
        if not self.pipeline.endswith(".py"):
            raise ConfigError(
                f"project {self.id}: pipeline: {self.pipeline!r} must be a Python file, such as "
                "ci/pipeline.py: what is beside it belongs to it"
            )

    @property
    def fork_policy(self) -> Forks:
        """What becomes of pull requests from forks."""
        return Forks(self.forks)

    def graph(self, target: Target) -> Graph:
        """Call :attr:`jobs` for ``target`` and check what it says.

        Raises:
            ConfigError: The function raised an exception, or what it returned makes no sense;
                names file and line where that is known. Or the pipeline is in the repository.
        """
        if self.jobs is None:
            raise ConfigError(f"{self.id} is judged by {self.pipeline} in its repository")
        code = getattr(self.jobs, "__code__", None)
        where = Path(code.co_filename) if code is not None else Path(f"jobs of {self.id}")
        with located(where):
            return self.graph_of(self.jobs(TargetTerms(target)))

    def graph_of(self, jobs: object) -> Graph:
        """The graph of what a function ``jobs`` has returned, checked.

        Raises:
            ConfigError: It makes no sense.
        """
        graph = Graph.of(_checked(self.id, jobs))
        _check_stages(self.id, stages(graph))
        return graph


@dataclass(frozen=True, slots=True)
class Config:
    """What a pipeline module calls ``config``.

    Attributes:
        projects: Each with an id of its own.
        confirm: The level from which on a person has to confirm each build of a stage; none: nobody
            has to.
        pools: Capacities of limited resources by name. A pool ``cpu`` that is not given here has
            as many units as the machine has processors.
        flows: From one branch of the database to another.
        webhooks: Who is told how targets stand.
        notify: Which people are told when a target breaks or is fixed.
        secrets: Where their values are, by name; stages ask for them with ``secrets=``.
        retention: How long results are kept; none: for ever.
        can_read, can_build, can_admin: Who may see projects, start and stop builds, and administer,
            where a project does not say it itself. By default nobody: the dashboard is then for
            administrators of the service.
    """

    projects: Sequence[Project] = ()
    pools: Mapping[str, int] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    retention: Retention | None = None
    confirm: str | Level | None = Level.DANGEROUS
    flows: Sequence[Flow] = ()
    webhooks: Sequence[Webhook] = ()
    _: KW_ONLY
    notify: Sequence[Slack | Mail] = ()
    can_read: Acl = nobody
    can_build: Acl = nobody
    can_admin: Acl = nobody

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        _check_retention("", self.retention)
        check_people("", self)
        for each in check_flows(self.flows):
            self._check_resources(each.graph())
        _check_stages(FLOWS, [spec for each in self.flows for spec in stages(each.graph())])
        _check_webhooks(self.webhooks)
        _check_notices(self.notify)
        seen: set[str] = set()
        for project in self.projects:
            if not isinstance(project, Project):
                raise ConfigError(f"projects holds {project!r}, which is not a Project")
            if project.id in seen:
                raise ConfigError(f"there are two projects {project.id}")
            seen.add(project.id)
        if self.confirm is not None:
            check_level("confirm", self.confirm)
        for pool, capacity in self.pools.items():
            check_name("pool", pool)
            if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 0:
                raise ConfigError(f"pool {pool}: {capacity!r} is not a number of units")
        for name, secret in self.secrets.items():
            check_name("secret", name)
            if not isinstance(secret, Secret):
                raise ConfigError(f"secret {name}: say where it is, as in Secret.file(PATH)")

    def project(self, id_: str) -> Project | None:
        """The project with this id, if there is one."""
        return next((project for project in self.projects if project.id == id_), None)

    @property
    def threshold(self) -> Level | None:
        """The level from which on a person has to confirm."""
        return None if self.confirm is None else Level(self.confirm)

    @property
    def rules(self) -> Rules:
        """Who may do what; in projects that are not here (any more) only administrators."""
        service = Rights(self.can_read, self.can_build, self.can_admin)
        own = {project.id: service.but_for(project) for project in self.projects}
        return Rules(service, {**own, FLOWS: service})

    def capacities(self, processors: int) -> Mapping[str, int]:
        """Every pool's capacity, on a machine with so many ``processors``."""
        own = {DEFAULT_POOL: processors}
        if any(project.pipeline for project in self.projects):
            own[PIPELINES] = _PIPELINES_AT_ONCE
        return {**own, **self.pools}

    def graph(self, target: Target) -> Graph:
        """The jobs of ``target`` as a graph, checked.

        Raises:
            ConfigError: As :meth:`Project.graph`; or there is no such project or pool.
        """
        if target.kind is TargetKind.FLOW:
            return self._flow(target)
        project = self.project(target.project)
        if project is None:
            raise ConfigError(f"the pipeline has no project {target.project}")
        graph = project.graph(target)
        self._check_resources(graph)
        return graph

    def knows_jobs_of(self, target: Target) -> bool:
        """Whether it says at once what the jobs of ``target`` are, if it makes any sense of it."""
        project = self.project(target.project)
        return project is None or (
            not project.pipeline and target.kind is not TargetKind.PULL_REQUEST
        )

    def graph_of(self, project: Project, jobs: object) -> Graph:
        """The graph of what a pipeline in the repository of ``project`` has made of a target.

        Raises:
            ConfigError: It makes no sense; or there is no such pool, or it may not have a secret.
        """
        graph = project.graph_of(jobs)
        self._check_resources(graph)
        for spec in stages(graph):
            for _, secret in spec.conditions.secrets:
                if secret not in project.secrets:
                    raise ConfigError(
                        f"stage {spec.name} wants secret {secret}, which a pipeline in the "
                        f"repository may not have; allow it in the service's own: "
                        f'Project("{project.id}", ..., secrets=["{secret}"])'
                    )
        return graph

    def _flow(self, target: Target) -> Graph:
        for each in self.flows:
            if each.target == target:
                return each.graph()
        raise ConfigError(f"the pipeline has no flow to {target.name}")

    def _check_resources(self, graph: Graph) -> None:
        """Refuse pools and secrets that nobody has declared."""
        pools = {DEFAULT_POOL, *self.pools}
        for spec in stages(graph):
            if spec.pool not in pools:
                known = ", ".join(sorted(pools))
                raise ConfigError(
                    f"stage {spec.name} wants pool {spec.pool}, which is not declared; "
                    f"the pools are {known}: add it to Config(pools={{...}})"
                )
            for _, secret in spec.conditions.secrets:
                if secret not in self.secrets:
                    raise ConfigError(
                        f"stage {spec.name} wants secret {secret}, which is not declared; add it: "
                        f'Config(secrets={{"{secret}": Secret.file(PATH)}})'
                    )


def stages(graph: Graph) -> Sequence[StageSpec]:
    """The stages of a graph, as far as it is known, in topological order."""
    return [node.operation.spec for node in graph.nodes if isinstance(node.operation, RunStage)]


def load_pipeline(path: Path) -> Config:
    """Import the pipeline file ``path`` and return its ``config``.

    Raises:
        ConfigError: It does not import, has no ``config``, or one of its stages cannot be
            fingerprinted; names file and line.
    """
    module = import_pipeline(path)
    config = getattr(module, "config", None)
    if config is None:
        raise ConfigError("there is no config; add: config = Config(projects=[...])", str(path))
    if not isinstance(config, Config):
        raise ConfigError(f"config is {config!r}, not a Config", str(path))
    with located(path):
        _check_names(value for value in vars(module).values() if isinstance(value, Stage))
    return config


def load_jobs(path: Path) -> Jobs:
    """Import the pipeline file ``path`` of a repository and return its function ``jobs``.

    Raises:
        ConfigError: It does not import, has no such function, or one of its stages cannot be
            fingerprinted; names file and line.
    """
    module = import_pipeline(path)
    jobs: object = getattr(module, "jobs", None)
    if not callable(jobs):
        raise ConfigError("there is no function jobs; add: def jobs(target): ...", place(str(path)))
    with located(path):
        _check_names(value for value in vars(module).values() if isinstance(value, Stage))
    return jobs


def _checked(project: str, jobs: object) -> Mapping[str, Term[object]]:
    if not isinstance(jobs, Mapping):
        raise ConfigError(
            f"project {project}: jobs returned {type(jobs).__name__}; "
            'return a dictionary such as {"lint": lint(target.source)}'
        )
    for name, term in jobs.items():
        check_name("job", name)
        if taken := _FIELDS.intersection(name.split("/")[1:]):
            raise ConfigError(f"job {name}: {min(taken)} is what a job's own file is called")
        if isinstance(term, Stage):
            raise ConfigError(f"job {name} is a stage: call it, as in {term.name}(target.source)")
        if not isinstance(term, Term):
            raise ConfigError(f"job {name} is {type(term).__name__}, not a term")
    return jobs


def _check_webhooks(hooks: Sequence[object]) -> None:
    urls: set[str] = set()
    for hook in hooks:
        if not isinstance(hook, Webhook):
            raise ConfigError(f"webhooks holds {hook!r}, which is not a Webhook")
        if hook.url in urls:
            raise ConfigError(f"webhook {hook.url} is there twice")
        urls.add(hook.url)


def _check_notices(notices: Sequence[object]) -> None:
    seen: set[str] = set()
    for notice in notices:
        if not isinstance(notice, Slack | Mail):
            raise ConfigError(f"notify holds {notice!r}, which is neither a Slack nor a Mail")
        if notice.id in seen:
            raise ConfigError(f"notify has {notice} twice for the same people")
        seen.add(notice.id)


def _check_retention(whose: str, rule: object) -> None:
    if rule is not None and not isinstance(rule, Retention):
        raise ConfigError(f"{whose}retention is {rule!r}; write Retention(days=30, keep=20)")


def _check_names(found: Iterable[Stage[...]]) -> None:
    """Refuse two stages of one name, and those without a fingerprint, before any target comes."""
    seen: dict[str, StageSpec] = {}
    for stage in found:
        if seen.setdefault(stage.name, stage.spec) != stage.spec:
            raise ConfigError(f"there are two stages {stage.name}; give one another name")


def _check_stages(project: str, specs: Iterable[StageSpec]) -> None:
    """One name, one stage: its results share a branch and a history. Parameters may differ."""
    seen: dict[str, tuple[str, float, str, Conditions, Policy]] = {}
    for spec in specs:
        facts = (spec.fingerprint, spec.timeout, spec.pool, spec.conditions, spec.policy)
        if seen.setdefault(spec.name, facts) != facts:
            raise ConfigError(
                f"project {project}: there are two stages {spec.name}; give one another name"
            )
