"""Schedules: texts that name moments, such as ``1h`` or ``0 3 * * 1-5 Europe/Berlin``.

Two forms. A length of time (``90s``, ``30m``, ``1h``, ``1d``): every whole multiple of it since the
beginning of 1970 in UTC, so ``1h`` is every full hour and ``1d`` every midnight, UTC, whenever the
service was started. Five fields of cron (crontab(5)), and optionally a time zone of the IANA
database: without one they are in UTC. In a zone with summer time, days are treated as Debian's
cron does: a moment that the clocks skip comes at once afterwards, and one that they repeat is not
repeated.

Pure: what the time is, others say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from datakit_ci.durations import parse_duration
from datakit_core.errors import ConfigError

__all__ = ["Schedule"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = 5


class Schedule:
    """The moments that a text names."""

    def __init__(self, text: str) -> None:
        """Read ``text``.

        Raises:
            ConfigError: It is no schedule, or never comes.
        """
        self.text = " ".join(text.split()) if isinstance(text, str) else text
        self._period: timedelta | None = None
        self._cron, self._zone = "", "UTC"
        fields = self.text.split(" ") if isinstance(text, str) else []
        if len(fields) == 1:
            try:
                self._period = timedelta(seconds=parse_duration(fields[0]))
            except ConfigError:
                raise self._wrong() from None
        elif len(fields) in (_FIELDS, _FIELDS + 1):
            self._cron = " ".join(fields[:_FIELDS])
            self._zone = fields[_FIELDS] if len(fields) > _FIELDS else "UTC"
            self._check()
        else:
            raise self._wrong()
        if self._period is not None and self._period < timedelta(seconds=1):
            raise ConfigError(f"schedule {text!r}: at most once a second")

    def __repr__(self) -> str:
        return f"Schedule({self.text!r})"

    def last(self, now: datetime) -> datetime:
        """The newest moment that is not later than ``now``; UTC."""
        if self._period is not None:
            return _EPOCH + (now - _EPOCH) // self._period * self._period
        return self._next(now + timedelta(seconds=1), reverse=True)

    def next(self, now: datetime) -> datetime:
        """The first moment after ``now``; UTC."""
        if self._period is not None:
            return self.last(now) + self._period
        return self._next(now, reverse=False)

    def _next(self, start: datetime, *, reverse: bool) -> datetime:
        from zoneinfo import ZoneInfo

        from cronsim import CronSim

        local = start.replace(microsecond=0).astimezone(ZoneInfo(self._zone))
        found: datetime = next(CronSim(self._cron, local, reverse=reverse))
        return found.astimezone(UTC)

    def _check(self) -> None:
        from zoneinfo import ZoneInfo

        from cronsim import CronSimError

        try:
            ZoneInfo(self._zone)
        except (KeyError, ValueError, OSError):
            raise ConfigError(
                f"schedule {self.text!r}: {self._zone} is no time zone; "
                "write UTC or one like Europe/Berlin"
            ) from None
        try:
            self.next(_EPOCH)
        except CronSimError as error:
            raise ConfigError(f"schedule {self.text!r}: {error}") from error
        except StopIteration:
            raise ConfigError(f"schedule {self.text!r} never comes") from None

    def _wrong(self) -> ConfigError:
        return ConfigError(
            f"{self.text!r} is not a schedule: write a time like 1h, or five fields of cron and "
            "perhaps a time zone, like 0 3 * * * Europe/Berlin"
        )
