"""Who may do what: roles in projects, and the terms by which a pipeline says who has them.

A pipeline's configuration names, for each role, who has it::

    from datakit_ci import Config, Project, any_of, everyone, github_org, username

    config = Config(
        projects=[Project("me/app", jobs, can_read=everyone)],
        can_build=any_of(username("ann"), github_org("acme")),
    )

Nobody has a role that the configuration does not give. Terms are values: whether one holds for
somebody is a function of what is known of them since they logged in (:class:`Identity`).
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datakit_core.errors import ConfigError

__all__ = [
    "LOCAL",
    "NOBODY",
    "OPEN",
    "STRANGER",
    "Acl",
    "Identity",
    "People",
    "Rights",
    "Role",
    "Rules",
    "Scope",
    "all_of",
    "any_of",
    "can_read_github",
    "check_acl",
    "check_people",
    "everyone",
    "github_org",
    "group",
    "logged_in",
    "nobody",
    "username",
]

LOCAL = ""
"""Stands for the service's own accounts where others are named after who keeps them."""

_GITHUB = "github"


class Role(enum.IntEnum):
    """What somebody may do in a project; each role includes those before it."""

    NONE = 0
    READ = 1
    BUILD = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, and what is known of them.

    Attributes:
        user: ``ann`` for an account of this service, ``github:ann`` for one that GitHub keeps, and
            so for other providers; empty for who has not said.
        groups: ``github:acme`` for an organisation on GitHub, and so for other providers.
        repositories: Those on GitHub, of the ones that the configuration asks about, that the
            user can read there; ``USER/REPO`` in small letters.
        is_admin: Whether the service's own list of accounts makes an administrator of them, in
            every project.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()
    is_admin: bool = False

    @property
    def provider(self) -> str:
        """Who keeps the account, such as ``github``; :data:`LOCAL` if this service does."""
        keeper, colon, _ = self.user.partition(":")
        return keeper if colon else LOCAL


@dataclass(frozen=True, slots=True)
class Scope:
    """What an API token is good for, at most.

    Attributes:
        role: The highest role.
        projects: The only projects; none: all that its user may see.
    """

    role: Role = Role.ADMIN
    projects: frozenset[str] | None = None


STRANGER = Identity()
"""Who has not said who they are."""


class Acl(ABC):
    """A set of people, given by a rule; its text is that rule in words."""

    __slots__ = ()

    @abstractmethod
    def allows(self, identity: Identity) -> bool:
        """Whether somebody belongs to it."""

    def __or__(self, other: Acl) -> Acl:
        """Who belongs to one of the two."""
        return any_of(self, other)

    def __and__(self, other: Acl) -> Acl:
        """Who belongs to both."""
        return all_of(self, other)

    def repositories(self) -> Iterator[str]:
        """The repositories on GitHub that the rule asks about."""
        return iter(())


@dataclass(frozen=True, slots=True)
class _Constant(Acl):
    answer: bool

    def allows(self, identity: Identity) -> bool:
        return self.answer

    def __str__(self) -> str:
        return "everyone" if self.answer else "nobody"


@dataclass(frozen=True, slots=True)
class _User(Acl):
    name: str

    def allows(self, identity: Identity) -> bool:
        return identity.user == self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class _LoggedIn(Acl):
    provider: str | None

    def allows(self, identity: Identity) -> bool:
        return bool(identity.user) and self.provider in (None, identity.provider)

    def __str__(self) -> str:
        if self.provider is None:
            return "whoever has logged in"
        return f"whoever has logged in with {self.provider or 'an account of this service'}"


@dataclass(frozen=True, slots=True)
class _Group(Acl):
    name: str

    def allows(self, identity: Identity) -> bool:
        return self.name in identity.groups

    def __str__(self) -> str:
        return f"members of {self.name}"


@dataclass(frozen=True, slots=True)
class _Repository(Acl):
    name: str

    def allows(self, identity: Identity) -> bool:
        return self.name in identity.repositories

    def repositories(self) -> Iterator[str]:
        yield self.name

    def __str__(self) -> str:
        return f"whoever can read {self.name} on GitHub"


@dataclass(frozen=True, slots=True)
class _Any(Acl):
    terms: tuple[Acl, ...]

    def __str__(self) -> str:
        return _joined(self.terms, "or") or "nobody"

    def allows(self, identity: Identity) -> bool:
        return any(term.allows(identity) for term in self.terms)

    def repositories(self) -> Iterator[str]:
        for term in self.terms:
            yield from term.repositories()


@dataclass(frozen=True, slots=True)
class _All(Acl):
    terms: tuple[Acl, ...]

    def __str__(self) -> str:
        return _joined(self.terms, "and at the same time")

    def allows(self, identity: Identity) -> bool:
        return all(term.allows(identity) for term in self.terms)

    def repositories(self) -> Iterator[str]:
        for term in self.terms:
            yield from term.repositories()


everyone: Acl = _Constant(answer=True)
"""Anybody who can connect, logged in or not."""

nobody: Acl = _Constant(answer=False)
"""No one; administrators of the service may do everything all the same."""


def username(name: str) -> Acl:
    """One user: ``ann`` has an account here, ``github:ann`` one on GitHub; and so on.

    Raises:
        ConfigError: It is no name.
    """
    return _User(_named("username", name))


def logged_in(provider: str | None = None) -> Acl:
    """Whoever has logged in; with ``provider``, such as ``"github"``, by way of that one.

    Anybody can make an account on GitHub: then this is hardly less than :data:`everyone`.
    """
    return _LoggedIn(provider)


def github_org(name: str) -> Acl:
    """The members of an organisation on GitHub.

    Raises:
        ConfigError: It is no name.
    """
    return _Group(_named("github_org", f"{_GITHUB}:{_part('github_org', name)}"))


def group(name: str) -> Acl:
    """The members of a group that a provider knows: ``PROVIDER:GROUP``.

    Raises:
        ConfigError: It is no such name.
    """
    if ":" not in _part("group", name):
        raise ConfigError(f"group({name!r}): write PROVIDER:GROUP, such as okta:developers")
    return _Group(_named("group", name))


def can_read_github(repository: str) -> Acl:
    """Who can read a repository ``USER/REPO`` on GitHub.

    Raises:
        ConfigError: It is no name of a repository.
    """
    user, slash, rest = _part("can_read_github", repository).partition("/")
    if not (user and slash and rest) or "/" in rest:
        raise ConfigError(f"can_read_github({repository!r}): write USER/REPO")
    return _Repository(repository.lower())


def any_of(*terms: Acl) -> Acl:
    """Who is in at least one of the terms; without any, nobody.

    Raises:
        ConfigError: Something else than a term was given.
    """
    return _Any(tuple(check_acl("any_of", term) for term in terms))


def all_of(*terms: Acl) -> Acl:
    """Who is in all of the terms.

    Raises:
        ConfigError: None was given, or something else than a term.
    """
    if not terms:
        raise ConfigError("all_of() without terms would be everyone; write everyone")
    return _All(tuple(check_acl("all_of", term) for term in terms))


def check_acl(where: str, term: object) -> Acl:
    """``term``, if it is one.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(term, Acl):
        raise ConfigError(
            f"{where}: {term!r} says of nobody who they are; write a term such as everyone, "
            'username("ann") or github_org("acme")'
        )
    return term


class People(Protocol):
    """What a configuration says of people; none: nothing."""

    @property
    def can_read(self) -> Acl | None:
        """Who may see it."""
        ...

    @property
    def can_build(self) -> Acl | None:
        """Who may start and stop builds."""
        ...

    @property
    def can_admin(self) -> Acl | None:
        """Who may administer it."""
        ...


def check_people(whose: str, people: People) -> None:
    """Refuse what is no term.

    Raises:
        ConfigError: Names the field.
    """
    for name in ("can_read", "can_build", "can_admin"):
        term: object = getattr(people, name)
        if term is not None:
            check_acl(f"{whose}{name}", term)


def _joined(terms: tuple[Acl, ...], word: str) -> str:
    """Terms in words; those that are made of several in brackets."""
    texts = [f"({each})" if len(getattr(each, "terms", ())) > 1 else str(each) for each in terms]
    return f" {word} ".join(texts)


def _named(where: str, name: str) -> str:
    """A name as identities have it: GitHub's are the same in capital and small letters."""
    text = _part(where, name)
    return text.lower() if text.lower().startswith(f"{_GITHUB}:") else text


def _part(where: str, name: object) -> str:
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise ConfigError(f"{where}({name!r}): a name is expected")
    return name


@dataclass(frozen=True, slots=True)
class Rights:
    """Who has each role in a project; who has one has those before it."""

    read: Acl = nobody
    build: Acl = nobody
    admin: Acl = nobody

    def role(self, identity: Identity) -> Role:
        """What somebody may do here."""
        if identity.is_admin or self.admin.allows(identity):
            return Role.ADMIN
        if self.build.allows(identity):
            return Role.BUILD
        return Role.READ if self.read.allows(identity) else Role.NONE

    def but_for(self, people: People) -> Rights:
        """These, where ``people`` says nothing else."""
        return Rights(
            self.read if people.can_read is None else people.can_read,
            self.build if people.can_build is None else people.can_build,
            self.admin if people.can_admin is None else people.can_admin,
        )

    def repositories(self) -> Iterator[str]:
        """The repositories on GitHub that these rules ask about."""
        for term in (self.read, self.build, self.admin):
            yield from term.repositories()


NOBODY = Rights()
"""Only for administrators of the service."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rights, as a configuration says them.

    Attributes:
        service: In what belongs to no project.
        projects: In each project.
        others: In projects that are not among these, such as those that the configuration has no
            more: their results are still there.
    """

    service: Rights = NOBODY
    projects: Mapping[str, Rights] = field(default_factory=dict)
    others: Rights = NOBODY

    def role(self, identity: Identity, project: str) -> Role:
        """What somebody may do in a project, whether there is such a project or not."""
        return self.projects.get(project, self.others).role(identity)

    def best_role(self, identity: Identity) -> Role:
        """The most that somebody may do anywhere."""
        roles = (rights.role(identity) for rights in self.projects.values())
        return max(self.service.role(identity), *roles, Role.NONE)

    def repositories(self) -> frozenset[str]:
        """The repositories on GitHub that the rules ask about."""
        every = (self.service, self.others, *self.projects.values())
        return frozenset(name for rights in every for name in rights.repositories())


OPEN = Rules(service=Rights(read=everyone), others=Rights(read=everyone))
"""Everybody may read everything, and nobody may do more."""
