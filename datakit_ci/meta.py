"""``meta.json``: what is recorded of a build besides its output and its log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from datakit_ci.canonical import canonical_json
from datakit_ci.occasion import Occasion
from datakit_core.client.api import ObjectId, TreeId
from datakit_core.errors import StoreError
from datakit_core.store.objects import parse_id

__all__ = ["Meta", "duration"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Meta:
    """Facts about one build.

    Attributes:
        command: The shell command, or the function's qualified name.
        input: The tree it was given.
        queued, started, finished: Moments, UTC.
        executor: Where it ran.
        exit_status: The command's; none for functions.
        log_size: Bytes.
        details: Further facts for people, such as versions.
        occasion: Why it ran; none: it was recorded by a version that did not say.
    """

    command: str
    input: TreeId
    queued: datetime
    started: datetime
    finished: datetime
    executor: str
    exit_status: int | None = None
    log_size: int = 0
    details: Mapping[str, str] = field(default_factory=dict)
    occasion: Occasion | None = None

    def to_bytes(self) -> bytes:
        """The file's content."""
        occasion = {} if self.occasion is None else {"occasion": self.occasion.to_json()}
        return canonical_json(
            {
                **occasion,
                "version": _VERSION,
                "command": self.command,
                "input": self.input,
                "queued": _print_time(self.queued),
                "started": _print_time(self.started),
                "finished": _print_time(self.finished),
                "executor": self.executor,
                "exit_status": self.exit_status,
                "log_size": self.log_size,
                "details": dict(self.details),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file; fields of later versions are ignored.

        Raises:
            StoreError: It is damaged, or of another version.
        """
        try:
            match json.loads(content):
                case {
                    "version": 1,
                    "command": str(command),
                    "input": str(given),
                    "queued": str(queued),
                    "started": str(started),
                    "finished": str(finished),
                    "executor": str(executor),
                    "exit_status": int() | None as status,
                    "log_size": int(log_size),
                    "details": dict(details),
                    **rest,
                }:
                    return cls(
                        command,
                        _tree(given),
                        datetime.fromisoformat(queued),
                        datetime.fromisoformat(started),
                        datetime.fromisoformat(finished),
                        executor,
                        status,
                        log_size,
                        {str(key): str(value) for key, value in details.items()},
                        Occasion.from_json(rest.get("occasion")),
                    )
                case _:
                    raise StoreError("damaged meta.json: a field is missing or of another kind")
        except ValueError as error:
            raise StoreError(f"damaged meta.json: {error}") from error


def _tree(text: str) -> TreeId:
    checked: ObjectId = parse_id(text)
    return TreeId(checked)


def _print_time(moment: datetime) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(started: datetime, finished: datetime) -> str:
    """How long something took, for people: ``0.3 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    seconds = max(0.0, (finished - started).total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_rest = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_rest} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
