"""What an engine and a worker say to one another: orders, answers, and news of what runs.

All of it is JSON, and bytes of logs beside it; there is no pickle of anything of ours. A tree is
its id, code is the id of a tree and a place in it. So an order says the same wherever it is read,
and whoever can reach the database can carry it out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.executors.base import LostBuild, TimedOut, Transient
from datakit_ci.outcome import Outcome
from datakit_ci.question import Question, QuestionKind
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.api import ObjectId, TreeId
from datakit_core.errors import DatakitError

__all__ = [
    "TOPIC",
    "Answer",
    "Began",
    "Ended",
    "Interrupted",
    "News",
    "Order",
    "Piece",
    "key_of",
    "read_news",
]

TOPIC = "datakit-ci"
"""Where all workers tell news: one topic, since a scheduler keeps a number of messages of each."""


class Interrupted(DatakitError):
    """A build was stopped by its worker, and not by who waits for it: it has to run again."""


def key_of(build: BuildId) -> str:
    """The name of a build's task: asked for twice, by two engines too, it runs once."""
    return f"datakit-build/{build.path}"


@dataclass(frozen=True, slots=True)
class Order:
    """A build to be run.

    Attributes:
        build: Its name.
        spec: What runs; a function's ``origin`` names the tree with its code.
        input: The tree it is given.
        secrets: Values by variable.
    """

    build: BuildId
    spec: StageSpec
    input: TreeId
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def encode(self) -> bytes:
        """As JSON."""
        return canonical_json(
            {
                "build": self.build.path,
                "spec": self.spec.to_json(),
                "input": self.input,
                "secrets": dict(self.secrets),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            ConfigError: The stage is one of another version of DataKit.
        """
        fields = json.loads(data)
        build = BuildId.parse(fields["build"])
        assert build is not None
        spec = StageSpec.from_json(fields["spec"])
        return cls(build, spec, TreeId(ObjectId(fields["input"])), fields["secrets"])


_LOST: Mapping[str, type[LostBuild]] = {
    "lost": LostBuild,
    "timed-out": TimedOut,
    "transient": Transient,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a build.

    Attributes:
        ending: The result, or why there is none.
        run: Which run of it this was, as its news have said.
        worker: The name of the worker.
        log: The whole log, if it is short.
        log_size: The length of the whole log.
        log_tree: A tree with the file ``log``, if it is long.
    """

    ending: Outcome | LostBuild
    run: str
    worker: str
    log: bytes = b""
    log_size: int = 0
    log_tree: TreeId | None = None

    def encode(self) -> tuple[bytes, bytes]:
        """As JSON, and the log."""
        fields: dict[str, JsonValue] = {
            "ending": _lost(self.ending)
            if isinstance(self.ending, LostBuild)
            else _outcome(self.ending),
            "run": self.run,
            "worker": self.worker,
            "log_size": self.log_size,
            "log_tree": self.log_tree,
        }
        return canonical_json(fields), self.log

    @classmethod
    def decode(cls, parts: tuple[bytes, bytes]) -> Self:
        """Read what :meth:`encode` wrote."""
        data, log = parts
        fields = json.loads(data)
        ending: Outcome | LostBuild
        match fields["ending"]:
            case {"lost": kind, "reason": reason}:
                ending = _LOST[kind](reason)
            case outcome:
                ending = _read_outcome(outcome)
        return cls(
            ending, fields["run"], fields["worker"], log, fields["log_size"], fields["log_tree"]
        )


def _lost(error: LostBuild) -> dict[str, JsonValue]:
    kind = next((kind for kind, each in _LOST.items() if type(error) is each), "lost")
    return {"lost": kind, "reason": str(error)}


def _outcome(outcome: Outcome) -> dict[str, JsonValue]:
    asked = outcome.questions
    return {
        "failure": outcome.failure,
        "output": outcome.output,
        "reports": outcome.reports,
        "exit_status": outcome.exit_status,
        "details": [list(detail) for detail in outcome.details],
        "questions": None if asked is None else [[each.kind.value, each.path] for each in asked],
    }


def _read_outcome(fields: Mapping[str, object]) -> Outcome:
    match fields:
        case {
            "failure": str() | None as failure,
            "output": str(output),
            "reports": str() | None as reports,
            "exit_status": int() | None as status,
            "details": list(details),
            "questions": list() | None as asked,
        }:
            return Outcome(
                failure=failure,
                output=TreeId(ObjectId(output)),
                reports=None if reports is None else TreeId(ObjectId(reports)),
                exit_status=status,
                details=tuple((name, value) for name, value in details),
                questions=None
                if asked is None
                else tuple(Question(QuestionKind(kind), path) for kind, path in asked),
            )
        case _:
            raise LostBuild(f"a worker's answer makes no sense: {sorted(fields)}")


@dataclass(frozen=True, slots=True)
class Began:
    """A build runs.

    Attributes:
        key: Its task.
        run: Which run of it: another one for each time that it runs.
        worker: On which worker.
    """

    key: str
    run: str
    worker: str

    def to_message(self) -> dict[str, object]:
        """As Dask sends it."""
        return {"key": self.key, "run": self.run, "began": self.worker}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a build's log.

    Attributes:
        key: The build's task.
        run: Which run of it.
        offset: Where in the log it begins.
        data: The bytes.
    """

    key: str
    run: str
    offset: int
    data: bytes

    def to_message(self) -> dict[str, object]:
        """As Dask sends it."""
        return {"key": self.key, "run": self.run, "offset": self.offset, "data": self.data}


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of a run is left on its worker."""

    key: str
    run: str

    def to_message(self) -> dict[str, object]:
        """As Dask sends it."""
        return {"key": self.key, "run": self.run, "ended": True}


News: TypeAlias = Began | Piece | Ended


def read_news(message: object) -> News | None:
    """What a worker has told; none if that makes no sense here."""
    match message:
        case {"key": str(key), "run": str(run), "began": str(worker)}:
            return Began(key, run, worker)
        case {"key": str(key), "run": str(run), "offset": int(offset), "data": bytes(data)}:
            return Piece(key, run, offset, data)
        case {"key": str(key), "run": str(run), "ended": True}:
            return Ended(key, run)
        case _:
            return None
