"""Sessions in Redis: they outlive the service, and several services can share them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from datakit_ci.dashboard.sessions import MOST_EACH, Session, SessionsAway
from datakit_core.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisSessions", "open_redis"]

_PREFIX = "datakit:session:"

_OF_USER = "datakit:sessions-of:"
"""A sorted set for each user: the keys of their sessions by when those began, or later."""

_KEPT = 8 * 86_400
"""Seconds for which a key is kept there: longer than any session is good."""

_PATIENCE = 2.0
"""Seconds that Redis gets for an answer."""


class RedisSessions:
    """Keeps sessions in Redis, each under the digest of its cookie, and until it ends."""

    def __init__(self, redis: Redis) -> None:
        """Keep them in ``redis``."""
        self._redis = redis

    async def load(self, key: str) -> Session | None:
        """As :meth:`SessionStore.load`; what is there and cannot be read is none."""
        async with _translated():
            data = await self._redis.get(_PREFIX + key)
        try:
            return None if data is None else _session(json.loads(data))
        except (ValueError, TypeError, KeyError):
            return None

    async def save(self, key: str, session: Session, seconds: float) -> None:
        """As :meth:`SessionStore.save`; ends the oldest ones of a user who has very many."""
        index = _OF_USER + session.user
        async with _translated(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_PREFIX + key, _text(session), px=_milliseconds(seconds))
            pipeline.zremrangebyscore(index, "-inf", session.began - _KEPT)
            pipeline.zadd(index, {key: session.began})
            pipeline.expire(index, _KEPT)
            pipeline.zrange(index, 0, -MOST_EACH - 1)
            surplus = (await pipeline.execute())[-1]
        await self._end(index, surplus)

    async def touch(self, key: str, session: Session, seconds: float) -> None:
        """As :meth:`SessionStore.touch`."""
        async with _translated():
            await self._redis.set(_PREFIX + key, _text(session), px=_milliseconds(seconds), xx=True)

    async def remove(self, key: str) -> None:
        """As :meth:`SessionStore.remove`."""
        async with _translated():
            await self._redis.delete(_PREFIX + key)

    async def remove_all(self, user: str) -> Collection[str]:
        """As :meth:`SessionStore.remove_all`."""
        index = _OF_USER + user
        async with _translated():
            keys = await self._redis.zrange(index, 0, -1)
        await self._end(index, keys)
        return [key.decode() for key in keys]

    async def _end(self, index: str, keys: Sequence[bytes]) -> None:
        if keys:
            async with _translated(), self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(*(_PREFIX.encode() + key for key in keys))
                pipeline.zrem(index, *keys)
                await pipeline.execute()


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _text(session: Session) -> str:
    return json.dumps(
        {
            "user": session.user,
            "began": session.began,
            "seen": session.seen,
            "stamp": session.stamp,
            "groups": sorted(session.groups),
            "repositories": sorted(session.repositories),
        }
    )


def _session(fields: dict[str, object]) -> Session:
    groups, repositories = fields["groups"], fields["repositories"]
    if not (isinstance(groups, list) and isinstance(repositories, list)):
        raise TypeError("groups and repositories are lists")
    return Session(
        str(fields["user"]),
        float(str(fields["began"])),
        float(str(fields["seen"])),
        str(fields["stamp"]),
        frozenset(map(str, groups)),
        frozenset(map(str, repositories)),
    )


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    from redis.exceptions import RedisError  # an extra

    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise SessionsAway(f"{type(error).__name__}: {error}") from error


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[RedisSessions]:
    """Connect to the Redis that ``url`` names, as ``redis://HOST:PORT/NUMBER`` does.

    Raises:
        ConfigError: The extra is not installed, or nobody answers there.
    """
    try:
        from redis.asyncio import Redis  # an extra
    except ImportError as error:
        raise ConfigError(
            "sessions in Redis need: pip install 'datakit[redis]'", "--sessions-backend"
        ) from error
    try:
        redis = Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, max_connections=20
        )
    except ValueError as error:
        raise ConfigError(str(error), "--sessions-backend") from error
    async with redis:
        sessions = RedisSessions(redis)
        try:
            await sessions.load("none")
        except SessionsAway as error:
            where = urlsplit(url)
            raise ConfigError(
                f"no Redis answers at {where.hostname or where.path}: {error}", "--sessions-backend"
            ) from error
        yield sessions
