"""Instants: what people write for the moment whose state they want to see.

Pure: what the time is, others say.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from datakit_core.client.api import CommitId, ObjectId
from datakit_core.errors import ConfigError

__all__ = ["parse_instant", "print_instant"]

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[T t](?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)"
    r" ?(?P<zone>Z|z|UTC|[+-]\d{2}:\d{2})?",
    re.ASCII,
)

_SKEW = timedelta(minutes=2)
"""How far in the future counts as now: clocks differ, and a form knows minutes only."""

_LONGEST = 40


def parse_instant(text: str, now: datetime) -> datetime | CommitId:
    """Read a time, or the full id of a commit.

    A time is RFC 3339, also without a zone (then UTC), without seconds, or with a space; or a
    date, which means the end of that day, UTC, or now if that is today.

    Args:
        text: What somebody wrote.
        now: UTC.

    Returns:
        A moment in UTC, in whole seconds, rounded down; or a commit, of which nothing is known.

    Raises:
        ConfigError: It is neither, or in the future; the text is for people.
    """
    text = text.strip()
    if _COMMIT.fullmatch(text):
        return CommitId(ObjectId(text.lower()))
    moment = _moment(text)
    if _DATE.fullmatch(text) and moment.date() == now.date():
        return now.replace(microsecond=0)
    if moment > now + _SKEW:
        raise ConfigError(
            f"{print_instant(moment)} is in the future; it is {print_instant(now)} now"
        )
    return min(moment, now).replace(microsecond=0)


def _moment(text: str) -> datetime:
    try:
        if _DATE.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return day + timedelta(days=1, seconds=-1)
        if (match := _TIME.fullmatch(text)) is not None:
            zone = (match["zone"] or "Z").replace("UTC", "Z").upper()
            written = f"{match['date']}T{match['time']}{zone}"
            return datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text[:_LONGEST]!r} is no moment: {error}") from error
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    raise ConfigError(
        f"{shown!r} is no moment; write a time such as 2026-03-04T05:06:07Z or 2026-03-04 05:06 "
        "(in UTC), a date, or the full id of a commit"
    )


def print_instant(moment: datetime) -> str:
    """As RFC 3339 in UTC, to the second: ``2026-03-04T05:06:07Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
