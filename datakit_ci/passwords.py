"""Passwords: what is kept of them, and how much work it is to try one.

Argon2id with the parameters of RFC 9106 for little memory (64 MiB, three passes), which take some
30 ms: in a thread, a few at a time, since each needs its memory.
"""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from datakit_core.errors import ConfigError

__all__ = ["LONGEST", "SHORTEST", "check_password", "hash_password", "verify_password"]

SHORTEST = 10
LONGEST = 256
"""Characters; what is longer is no password, but an attempt to keep us busy."""

_HASHER = PasswordHasher()


def check_password(password: str) -> None:
    """Refuse a password that could be guessed.

    Raises:
        ConfigError: It is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"a password has {SHORTEST} to {LONGEST} characters")


def hash_password(password: str) -> str:
    """What to keep of a password; takes a while."""
    return _HASHER.hash(password.encode(errors="surrogatepass"))


def verify_password(hashed: str | None, password: str) -> bool:
    """Whether a password is the one that ``hashed`` was made of; takes a while.

    Without ``hashed`` it is not, after the same while: nobody learns by it who has an account.
    """
    given = password[:LONGEST].encode(errors="surrogatepass")
    try:
        nobodys = _nobodys()  # made at the first attempt, whosever that is
        _HASHER.verify(hashed or nobodys, given)
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None and len(password) <= LONGEST


@cache
def _nobodys() -> str:
    return hash_password("the password of nobody")
