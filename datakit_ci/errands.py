"""Errands: commands that another program leaves in the database, and what came of them.

    asked/ID       a command, with its user and the time
    answered/ID    what the engine has done, or why not

on the branch ``control``. Leaving one is a commit; carrying it out is one commit too, which takes
the command away, makes its rulings and leaves the answer. So it is done once, whoever is killed in
between. IDs begin with the time, so that they sort by age; of answers only the newest are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.control import Approve, Cancel, Command, Confirm, Pause, Rebuild, Resume
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import DatakitError, StoreError
from datakit_core.store.objects import parse_id

__all__ = ["Answer", "Errand", "answer_path", "errand_id", "errand_path", "title_of"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Errand:
    """A command that waits for an engine.

    Attributes:
        command: What somebody wants.
        time: Since when, UTC.
    """

    command: Command
    time: datetime

    def to_bytes(self) -> bytes:
        """The content of its file."""
        about = {"time": self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        return canonical_json({"version": _VERSION, **about, **_printed(self.command)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file.

        Raises:
            StoreError: It is damaged, of another version, or no command that makes sense.
        """
        try:
            match json.loads(content):
                case {"version": 1, "time": str(time), **fields}:
                    named = {str(name): value for name, value in fields.items()}
                    return cls(_parsed(named), datetime.fromisoformat(time))
                case _:
                    raise StoreError("damaged command: it is of another kind or version")
        except (ValueError, DatakitError) as error:
            raise StoreError(f"damaged command: {error}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command.

    Attributes:
        is_done: Whether it was carried out.
        text: What was done, or why nothing was; for people.
    """

    is_done: bool
    text: str

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return canonical_json({"version": _VERSION, "done": self.is_done, "text": self.text})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file; raises ``StoreError`` if it is damaged."""
        try:
            match json.loads(content):
                case {"version": 1, "done": bool(done), "text": str(text)}:
                    return cls(done, text)
                case _:
                    raise StoreError("damaged answer: it is of another kind or version")
        except ValueError as error:
            raise StoreError(f"damaged answer: {error}") from error


def errand_id(time: datetime, random: str) -> str:
    """A name for an errand; ``random`` tells those of one moment apart."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{random}"


def errand_path(id_: str) -> str:
    """The file with the command."""
    return f"asked/{id_}"


def answer_path(id_: str) -> str:
    """The file with what came of it."""
    return f"answered/{id_}"


def title_of(command: Command) -> str:
    """A command in words, such as ``rebuild what failed of me/app/ref/heads/main``."""
    match command:
        case Pause(project=project):
            return f"pause {project}"
        case Resume(project=project):
            return f"resume {project}"
        case Rebuild(only_failed=True):
            return f"rebuild what failed of {_named(command)}"
        case Approve(what=what):
            return f"approve {what.path}"
        case Rebuild() | Cancel() | Confirm():
            return f"{type(command).__name__.lower()} {_named(command)}"


def _named(command: Rebuild | Cancel | Confirm) -> str:
    return f"{command.job} of {command.what.path}" if command.job else command.what.path


def _printed(command: Command) -> Mapping[str, JsonValue]:
    fields: dict[str, JsonValue] = {"command": type(command).__name__.lower(), "user": command.user}
    if isinstance(command, Pause | Resume):
        return {**fields, "project": command.project}
    if isinstance(command, Approve):
        return {**fields, "target": command.what.path, "commit": command.commit}
    what = command.what
    if isinstance(what, BuildId):
        key = {"project": what.project, "stage": what.stage, "static": what.static, "key": what.key}
        fields["build"] = key
    else:
        fields["target"] = what.path
    if command.job:
        fields["job"] = command.job
    if isinstance(command, Rebuild) and command.only_failed:
        fields["only_failed"] = True
    return fields


def _parsed(fields: Mapping[str, object]) -> Command:
    """The command that these fields say; what is not known is no command."""
    match fields:
        case {"command": "pause", "user": str(user), "project": str(project), **rest} if not rest:
            return Pause(user, project)
        case {"command": "resume", "user": str(user), "project": str(project), **rest} if not rest:
            return Resume(user, project)
        case {
            "command": "approve",
            "user": str(user),
            "target": str(target),
            "commit": None | str() as commit,
            **rest,
        } if not rest:
            at = None if commit is None else CommitId(parse_id(commit))
            return Approve(user, Target.named(target), at)
        case {"command": "cancel", "user": str(user), **rest}:
            return Cancel(user, *_about(rest))
        case {"command": "confirm", "user": str(user), **rest}:
            return Confirm(user, *_about(rest))
        case {"command": "rebuild", "user": str(user), **rest}:
            only_failed = rest.pop("only_failed", False) is True
            return Rebuild(user, *_about(rest), only_failed=only_failed)
        case _:
            raise StoreError("nobody knows this command")


def _about(fields: Mapping[str, object]) -> tuple[Target | BuildId, str]:
    """The target or build that a command is about, and the job."""
    match fields:
        case {"target": str(target), "job": str(job), **rest} if not rest:
            return Target.named(target), job
        case {"target": str(target), **rest} if not rest:
            return Target.named(target), ""
        case {
            "build": {"project": str(p), "stage": str(s), "static": str(static), "key": str(key)},
            **rest,
        } if not rest:
            return BuildId(p, s, static, key), ""
        case _:
            raise StoreError("it is not said, or not clear, what the command is about")
