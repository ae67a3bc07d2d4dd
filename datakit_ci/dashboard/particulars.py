"""What the page of settings says of the service: values in, values out.

No secret gets as far as a page. Of what an option or a webhook says only what cannot open a door is
shown: an address loses its user, its password, and, where it is a webhook's, everything after the
host, since many carry a token there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from datakit_ci.acl import Acl, Rights
from datakit_ci.project import Config, Project
from datakit_ci.retention import Retention

__all__ = [
    "Particulars",
    "ProjectRow",
    "SecretRow",
    "kept",
    "plain_options",
    "projects",
    "secrets",
    "tame",
]

_HIDDEN = frozenset(("metrics_token_hash",))
"""Options of which only is said whether they were given."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """What the dashboard may tell administrators of the service that it belongs to.

    Attributes:
        options: What it was started with, by name of the option; no secrets.
        config: The pipeline, as it is now.
        missing: The secrets that are declared and not there, now.
        providers: Who else keeps accounts.
        database: Where the database is, for people.
        trouble: What is wrong with the service; empty: nothing.
        executor: Where builds run, as ``--executor`` says it.
    """

    options: Mapping[str, str]
    config: Callable[[], Config]
    missing: Callable[[], Collection[str]]
    providers: Sequence[str] = ()
    database: str = ""
    trouble: Callable[[], str] = str
    executor: str = "local"


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project as it is declared.

    Attributes:
        id: ``USER/REPO``.
        pipeline: Where its jobs come from.
        forks: What becomes of pull requests from forks.
        retention: How long its results are kept.
        dashboards: Branches to look at first.
        secrets: The names of those that a pipeline in the repository may have.
        read, build, admin: Who has the role, in words.
    """

    id: str
    pipeline: str
    forks: str
    retention: str
    dashboards: tuple[str, ...]
    secrets: tuple[str, ...]
    read: str
    build: str
    admin: str


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A secret, by its name.

    Attributes:
        name: As stages ask for it.
        where: Where its value is.
        is_there: Whether there is a value.
    """

    name: str
    where: str
    is_there: bool


def plain_options(given: Mapping[str, object]) -> Mapping[str, str]:
    """Options as people write them, without what is secret; those that are empty are left out."""
    found: dict[str, str] = {}
    for name, value in given.items():
        if value in (None, "", ()):
            continue
        option = "--" + name.replace("_", "-")
        if name in _HIDDEN:
            found[option] = "given"
        elif isinstance(value, tuple):
            found[option] = ", ".join(tame(str(each)) for each in value)
        else:
            found[option] = tame(str(value))
    return found


def tame(address: str, *, only_host: bool = False) -> str:
    """An address without user, password and query; what is no URL stays as it is.

    Args:
        address: Any text.
        only_host: Whether the path goes as well.
    """
    try:
        parts = urlsplit(address)
        where = parts.netloc.rpartition("@")[2]
    except ValueError:
        return address.rpartition("@")[2]
    if not parts.scheme or not parts.netloc:
        return address
    plain = f"{parts.scheme}://{'…@' if '@' in parts.netloc else ''}{where}"
    if only_host:
        return plain + ("/…" if parts.path.strip("/") or parts.query else "")
    return plain + parts.path + ("?…" if parts.query else "")


def projects(config: Config, administers: Callable[[str], bool]) -> tuple[ProjectRow, ...]:
    """The projects for which ``administers`` says yes, in the pipeline's order."""
    rules = config.rules
    return tuple(
        _project(config, each, rules.projects[each.id])
        for each in config.projects
        if administers(each.id)
    )


def secrets(config: Config, missing: Collection[str]) -> tuple[SecretRow, ...]:
    """The secrets that are declared, by name."""
    return tuple(
        SecretRow(name, str(secret), name not in missing)
        for name, secret in sorted(config.secrets.items())
    )


def _project(config: Config, project: Project, rights: Rights) -> ProjectRow:
    return ProjectRow(
        project.id,
        f"{project.pipeline} in the repository" if project.pipeline else "of the service",
        project.fork_policy.value,
        kept(project.retention or config.retention),
        tuple(project.dashboards),
        tuple(project.secrets),
        _people((rights.read, rights.build, rights.admin)),
        _people((rights.build, rights.admin)),
        _people((rights.admin,)),
    )


def _people(terms: Iterable[Acl]) -> str:
    """Who has a role: those who are given it, and those who are given a higher one."""
    words = list(dict.fromkeys(str(term) for term in terms))
    if "everyone" in words:
        return "everyone"
    named = [text for text in words if text != "nobody"]
    return "; ".join(named) if named else "administrators of the service only"


def kept(rule: Retention | None) -> str:
    """How long results are kept, in words."""
    if rule is None or (rule.days is None and rule.keep is None):
        return "for ever"
    days = "" if rule.days is None else f"{rule.days:g} days"
    newest = "" if rule.keep is None else f"the newest {rule.keep} of each stage"
    return "; ".join(text for text in (days, newest) if text)
