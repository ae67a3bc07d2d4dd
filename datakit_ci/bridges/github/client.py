"""The HTTP client of GitHub's API: waits where GitHub asks for it, and counts what is asked."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from gidgethub.aiohttp import GitHubAPI

from datakit_ci.bridges.github.hub import Unavailable
from datakit_ci.bridges.github.metrics import Meter

__all__ = ["Client", "Pause", "Token"]

_log = logging.getLogger(__name__)

Token = Callable[[], Awaitable[str]]
"""Gives the token to use now; empty for none."""

Pause = Callable[[float], Awaitable[None]]

_AGENT = "datakit-bridge-github"
_ATTEMPTS = 4
_LONGEST_WAIT = 900.0
"""Seconds that a request waits because GitHub says so; of more, the bridge is told at once."""

_RESERVE = 20
"""Requests of the limit that are left to others who use the same token."""

_MOST_CACHED = 2000
"""Answers that are kept with their ETags: some lists of each repository, and a few pages."""


class _Answers(OrderedDict[str, Any]):
    """Answers by address; the oldest go, and are then asked for in full again."""

    def __setitem__(self, url: str, answer: Any) -> None:
        super().__setitem__(url, answer)
        self.move_to_end(url)
        if len(self) > _MOST_CACHED:
            self.popitem(last=False)


class Client(GitHubAPI):
    """One for a bridge; several requests may be under way at once."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: Token, meter: Meter, pause: Pause
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            session: For requests; its time-outs apply.
            url: Of the API.
            token: Gives the token.
            meter: What to count with.
            pause: Waits so many seconds.
        """
        super().__init__(session, _AGENT, cache=_Answers(), base_url=url)
        self._token = token
        self._meter = meter
        self._pause = pause

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; again, as often as GitHub says that it did nothing and why.

        One that may have been carried out (a change that a broken server answered) is not sent
        again: only another look can tell.
        """
        harmless = method == "GET" or url.endswith("/graphql")
        attempt = 0
        while True:
            attempt += 1
            await self._spare()
            answer = await self._send(method, url, headers, body)
            wait = _asked_to_wait(answer, attempt, harmless=harmless)
            if wait is None or attempt >= _ATTEMPTS:
                return answer
            await self._wait(wait)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        token = await self._token()
        sent = {**headers, "authorization": f"token {token}"} if token else headers
        try:
            answer = await super()._request(method, url, sent, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            place = urlsplit(url).netloc
            raise Unavailable(f"cannot reach {place}: {str(error) or 'time-out'}") from error
        self._meter.answered(method, answer[0], answer[1])
        return answer

    async def _spare(self) -> None:
        """Leave a few requests of the limit to others who use the same token."""
        limit = self.rate_limit
        if limit is not None and limit.remaining < min(_RESERVE, limit.limit // 10):
            await self._wait(limit.reset_datetime.timestamp() - time.time())

    async def _wait(self, seconds: float) -> None:
        """Wait as long as GitHub says.

        Raises:
            Unavailable: That is too long.
        """
        if seconds > _LONGEST_WAIT:
            raise Unavailable(f"GitHub's limit of requests is used up for {seconds:.0f} s")
        if seconds > 0:
            self._meter.waited(seconds)
            _log.warning("waiting %.0f s, as GitHub asks for", seconds)
            await self._pause(seconds)


def _asked_to_wait(
    answer: tuple[int, Mapping[str, str], bytes], attempt: int, *, harmless: bool
) -> float | None:
    """Seconds until a failed request may be sent again; none if it shall not be.

    Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    status, headers, body = answer
    if status in (403, 429):
        if (after := headers.get("retry-after", "")).isdigit():
            return float(after)
        if headers.get("x-ratelimit-remaining") == "0":
            return max(0.0, float(headers.get("x-ratelimit-reset", 0)) - time.time()) + 1
        return 60.0 * attempt if b"secondary rate" in body else None
    return 0.5 * 4.0 ** (attempt - 1) if status >= 500 and harmless else None
