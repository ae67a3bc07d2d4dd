"""Secrets: declared by name in the configuration, read once, given to the stages that ask.

A pipeline says where a value is and never what it is::

    config = Config(
        projects=[...],
        secrets={"TOKEN": Secret.file("/etc/datakit/token"), "KEY": Secret.env("DEPLOY_KEY")},
    )

The name of a secret is part of the key of a result, its value is not: a new password is no reason
to build everything again. Where it is one, change the stage's ``version=``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from datakit_ci.redaction import NO_SECRETS, SHORTEST, Redaction
from datakit_core.errors import ConfigError

__all__ = ["Keyring", "Secret"]

_LONGEST = 1 << 16
"""Bytes: an environment variable of Linux holds no more than twice that (execve(2))."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a value is: made by :meth:`file` or :meth:`env`.

    Attributes:
        path: The file that holds it; empty: the variable does.
        variable: The variable of DataKit's own environment that holds it.
    """

    path: str = ""
    variable: str = ""

    @classmethod
    def file(cls, path: str | Path) -> Self:
        """The content of a file, without the newline at its end; readable by its owner alone."""
        return cls(path=str(path))

    @classmethod
    def env(cls, variable: str) -> Self:
        """A variable of the environment that DataKit was started with; builds do not get that."""
        return cls(variable=variable)

    def read(self) -> bytes | None:
        """The value; none if there is no such file or variable.

        Raises:
            ConfigError: The file cannot be read, or others can read it too.
        """
        if not self.path:
            return os.environb.get(os.fsencode(self.variable))
        try:
            with Path(self.path).expanduser().open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise ConfigError(f"others can read it; run: chmod 600 {self.path}")
                return file.read(_LONGEST + 1).removesuffix(b"\n").removesuffix(b"\r")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from error

    def __str__(self) -> str:
        """Where it is, for people."""
        return self.path or f"the environment variable {self.variable}"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The values of all secrets, as they were when the pipeline was loaded.

    Attributes:
        redaction: Takes all of them out of logs and messages, whichever stage prints them.
        missing: Those that are not there, and where they should be, by name. Only the stages that
            ask for one fail: a pipeline can be tried where its passwords are not.
    """

    redaction: Redaction = NO_SECRETS
    missing: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, secrets: Mapping[str, Secret]) -> Self:
        """Read every secret that is there.

        Raises:
            ConfigError: One cannot be read, or is too short to be redacted; names it.
        """
        values: dict[str, bytes] = {}
        missing: dict[str, str] = {}
        for name, secret in secrets.items():
            try:
                value = secret.read()
                if value is None:
                    missing[name] = str(secret)
                else:
                    values[name] = _checked(value)
            except ConfigError as error:
                raise ConfigError(f"secret {name}: {error}") from error
        return cls(Redaction(values), missing, values)

    def environment(self, wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The variables for a stage that wants these: names of variables and of secrets.

        Raises:
            ConfigError: One is not there.
        """
        found: dict[str, str] = {}
        for variable, name in wanted:
            if name not in self.values:
                where = self.missing.get(name)
                remedy = f"{where} is not there" if where else "not declared in Config(secrets)"
                raise ConfigError(f"secret {name}: {remedy}")
            found[variable] = os.fsdecode(self.values[name])
        return found


def _checked(value: bytes) -> bytes:
    if len(value) < SHORTEST:
        raise ConfigError(f"it is shorter than {SHORTEST} bytes, too short to be found in logs")
    if len(value) > _LONGEST or b"\0" in value:
        raise ConfigError(f"it is longer than {_LONGEST} bytes, or holds a zero byte")
    return value
