"""Accounts and API tokens of the service itself: two files, kept in memory as well.

``users.json`` has names and hashes of passwords, ``tokens.json`` digests of tokens; neither lets
anybody log in who reads it. They are changed under a lock and replaced whole, by the service and
by ``datakit-ci users``; the service notices and reads them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from watchfiles import awatch

from datakit_ci.acl import LOCAL, Identity, Role, Scope
from datakit_ci.confidential import (
    make_directory,
    read_confidential,
    update_lock,
    write_confidential,
)
from datakit_ci.passwords import check_password, hash_password
from datakit_core.errors import ConfigError

__all__ = ["MOST_TOKENS", "Account", "AccountBook", "NewToken", "Token", "check_user_name"]

_LOG = logging.getLogger(__name__)

_NOTING = 300.0
"""Seconds between two times that uses of tokens are written down."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

MOST_TOKENS = 50
"""Tokens that one user may have."""

_PREFIX = "dkt_"
"""What tokens begin with, so that programs that look for leaked secrets know them."""


class Account(BaseModel):
    """Somebody who logs in with a password.

    Attributes:
        password: Its Argon2 hash.
        is_admin: Whether they may do everything.
        stamp: Another one with each password; sessions know theirs.
        created: When.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: str
    is_admin: bool = False
    stamp: str
    created: datetime


class Token(BaseModel):
    """What a program may do in somebody's name.

    Attributes:
        id: Names it to people.
        user: Whose.
        name: What it is for.
        digest: SHA-256 of the token, in hex.
        role: The highest role that it gives.
        projects: The only projects that it is good for; none: all that its user may see.
        created, expires: When it was made, and until when it is good.
        groups, repositories: What the user's provider said when they made it; empty for accounts
            of ours.
        used: When it was last used; noted now and then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    user: str
    name: str
    digest: str
    role: int
    projects: tuple[str, ...] | None = None
    created: datetime
    expires: datetime
    groups: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    used: datetime | None = None


class _Users(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: int = 1
    users: dict[str, Account] = {}


class _Tokens(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: int = 1
    tokens: dict[str, Token] = {}


_Model = TypeVar("_Model", _Users, _Tokens)


def check_user_name(name: str) -> None:
    """Refuse what cannot be the name of an account.

    Raises:
        ConfigError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for an account: letters, digits, dots, dashes and underscores"
        )


@dataclass(frozen=True, slots=True)
class NewToken:
    """What somebody wants a token for; fields as those of :class:`Token`."""

    name: str
    role: Role
    projects: tuple[str, ...] | None
    expires: datetime


class AccountBook:
    """Accounts and tokens; all methods that change anything block, and belong into a thread."""

    def __init__(self, directory: Path, now: Callable[[], datetime]) -> None:
        """Keep them in ``directory``; :meth:`open` reads it."""
        self.directory = directory
        self._now = now
        self._users = _Users()
        self._tokens = _Tokens()
        self._by_digest: Mapping[str, Token] = {}
        self._used: dict[str, datetime] = {}

    @classmethod
    def open(cls, directory: Path, now: Callable[[], datetime]) -> Self:
        """Read what there is.

        Raises:
            ConfigError: A file is damaged, or open to others.
        """
        book = cls(directory, now)
        book.reload()
        return book

    def reload(self) -> None:
        """Read the files again; blocks.

        Raises:
            ConfigError: As :meth:`open`; then everything stays as it was.
        """
        users = _read(self._users_file, _Users)
        self._keep_tokens(_read(self._tokens_file, _Tokens))
        self._users = users

    async def follow(self) -> None:
        """Read the files again when others have changed them; note uses now and then."""
        await asyncio.to_thread(make_directory, self.directory)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_now_and_then())
            async for _ in awatch(self.directory, watch_filter=_is_ours, debounce=100):
                try:
                    await asyncio.to_thread(self.reload)
                except ConfigError as error:
                    _LOG.error("accounts stay as they were: %s", error)

    async def _note_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_NOTING)
            try:
                await asyncio.to_thread(self.note_uses)
            except ConfigError as error:
                _LOG.error("uses of tokens were not noted: %s", error)

    @property
    def _users_file(self) -> Path:
        return self.directory / "users.json"

    @property
    def _tokens_file(self) -> Path:
        return self.directory / "tokens.json"

    @property
    def accounts(self) -> Mapping[str, Account]:
        """All accounts by name."""
        return self._users.users

    @property
    def has_admin(self) -> bool:
        """Whether somebody may do everything, so that no set-up is needed (any more)."""
        return any(account.is_admin for account in self.accounts.values())

    def stamp(self, user: str) -> str | None:
        """Which credentials an account has; none if there is no such account."""
        account = self.accounts.get(user)
        return None if account is None else account.stamp

    def is_admin(self, user: str) -> bool:
        """Whether an account may do everything."""
        account = self.accounts.get(user)
        return account is not None and account.is_admin

    def password_hash(self, user: str) -> str | None:
        """What to check a password against; none if there is no such account."""
        account = self.accounts.get(user)
        return None if account is None else account.password

    def add(self, name: str, password: str, *, is_admin: bool = False, first: bool = False) -> None:
        """Make an account.

        Args:
            name: Of the account.
            password: To log in with.
            is_admin: Whether it may do everything.
            first: Only if nobody may do everything yet.

        Raises:
            ConfigError: There is one of that name, or the name or the password will not do.
        """
        check_user_name(name)
        check_password(password)
        account = self._account(password, is_admin=is_admin)
        with update_lock(self.directory):
            self.reload()
            if name in self.accounts:
                raise ConfigError(f"there is an account {name} already")
            if first and self.has_admin:
                raise ConfigError("somebody else has set up this service meanwhile")
            self._save_users({**self.accounts, name: account})

    def remove(self, name: str) -> None:
        """End an account, its sessions and its tokens.

        Raises:
            ConfigError: There is no such account.
        """
        with update_lock(self.directory):
            self.reload()
            self._check_known(name)
            self._save_users({n: each for n, each in self.accounts.items() if n != name})
            self._save_tokens({i: t for i, t in self._tokens.tokens.items() if t.user != name})

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; all its sessions end.

        Raises:
            ConfigError: There is no such account, or the password will not do.
        """
        check_password(password)
        self._check_known(name)
        with update_lock(self.directory):
            self.reload()
            self._check_known(name)
            old = self.accounts[name]
            account = self._account(password, is_admin=old.is_admin)
            self._save_users(
                {**self.accounts, name: account.model_copy(update={"created": old.created})}
            )

    def tokens_of(self, user: str) -> list[Token]:
        """Somebody's tokens, the newest first, with the time of their last use."""
        own = [
            token.model_copy(update={"used": self._used.get(token.id, token.used)})
            for token in self._tokens.tokens.values()
            if token.user == user
        ]
        return sorted(own, key=lambda token: token.created, reverse=True)

    def make_token(self, identity: Identity, wanted: NewToken) -> str:
        """Make a token; what is returned is kept nowhere.

        Raises:
            ConfigError: The user has too many.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        is_local = identity.provider == LOCAL
        token = Token(
            id=secrets.token_hex(6),
            user=identity.user,
            name=wanted.name,
            digest=_digest(secret),
            role=wanted.role.value,
            projects=wanted.projects,
            created=self._now(),
            expires=wanted.expires,
            groups=() if is_local else tuple(sorted(identity.groups)),
            repositories=() if is_local else tuple(sorted(identity.repositories)),
        )
        with update_lock(self.directory):
            self.reload()
            if len(self.tokens_of(identity.user)) >= MOST_TOKENS:
                raise ConfigError(f"you have {MOST_TOKENS} tokens; remove one that is not used")
            self._save_tokens({**self._tokens.tokens, token.id: token})
        return secret

    def revoke_token(self, user: str, id_: str) -> None:
        """End somebody's token, if they have it."""
        with update_lock(self.directory):
            self.reload()
            left = {
                i: token
                for i, token in self._tokens.tokens.items()
                if (i, token.user) != (id_, user)
            }
            self._save_tokens(left)

    def of_token(self, secret: str) -> tuple[Identity, Scope] | None:
        """Whose token this is and what it is good for, if it is (still); its use is noted."""
        token, now = self._by_digest.get(_digest(secret)), self._now()
        if token is None or token.expires <= now:
            return None
        identity = Identity(
            token.user,
            frozenset(token.groups),
            frozenset(token.repositories),
            is_admin=self.is_admin(token.user),
        )
        if identity.provider == LOCAL and token.user not in self.accounts:
            return None
        self._used[token.id] = now
        projects = None if token.projects is None else frozenset(token.projects)
        return identity, Scope(Role(token.role), projects)

    def note_uses(self) -> None:
        """Write down when tokens were used; blocks."""
        used, self._used = self._used, {}
        if not used:
            return
        with update_lock(self.directory):
            self.reload()
            self._save_tokens(
                {
                    i: token.model_copy(update={"used": used.get(i, token.used)})
                    for i, token in self._tokens.tokens.items()
                }
            )

    def _account(self, password: str, *, is_admin: bool) -> Account:
        return Account(
            password=hash_password(password),
            is_admin=is_admin,
            stamp=secrets.token_hex(8),
            created=self._now(),
        )

    def _check_known(self, name: str) -> None:
        if name not in self.accounts:
            raise ConfigError(f"there is no account {name}")

    def _save_users(self, users: dict[str, Account]) -> None:
        model = _Users(users=users)
        write_confidential(self._users_file, _text(model))
        self._users = model

    def _save_tokens(self, tokens: dict[str, Token]) -> None:
        model = _Tokens(tokens=tokens)
        write_confidential(self._tokens_file, _text(model))
        self._keep_tokens(model)

    def _keep_tokens(self, model: _Tokens) -> None:
        self._tokens = model
        self._by_digest = {token.digest: token for token in model.tokens.values()}


def _is_ours(_change: object, path: str) -> bool:
    return path.endswith(("users.json", "tokens.json"))


def _digest(secret: str) -> str:
    """Of a random number of 256 bits, which nobody finds by trying: it needs no slow hash."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _text(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=1).encode() + b"\n"


def _read(file: Path, model: type[_Model]) -> _Model:
    data = read_confidential(file)
    if data is None:
        return model()
    try:
        found = model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"is damaged: {first['msg']}", str(file)) from None
    if found.version != 1:
        raise ConfigError(f"has version {found.version}, which a newer DataKit wrote", str(file))
    return found
