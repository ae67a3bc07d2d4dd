"""GitHub's API through gidgethub: looking at repositories, changing things, keeping to limits.

Reading is GraphQL, which brings a repository in a few requests; changes are REST, and so is the
cheap look whether anything is new, by requests with ETags that do not count against the limit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from gidgethub import (
    BadGraphQLRequest,
    GitHubException,
    HTTPException,
    QueryError,
    RateLimitExceeded,
)
from gidgethub.aiohttp import GitHubAPI

from datakit_ci.bridges.github import queries
from datakit_ci.bridges.github.hub import Refused, Unavailable
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.options import PUBLIC
from datakit_ci.bridges.github.reconcile import (
    AddComment,
    EditComment,
    Push,
    SetStatus,
    SetTitle,
)
from datakit_ci.bridges.github.resources import (
    Comment,
    CommentKey,
    Key,
    Pull,
    Snapshot,
    Value,
)
from datakit_ci.bridges.github.scope import Scope
from datakit_ci.metadata import DESCRIPTION_LIMIT, CommitStatus

__all__ = ["GitHub", "Token"]

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

_GONE = frozenset({"NOT_FOUND"})


class _Client(GitHubAPI):
    """Waits where GitHub asks for it, and counts what is asked."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: Token, meter: Meter, pause: Pause
    ) -> None:
        super().__init__(session, _AGENT, cache={}, base_url=url)
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


class GitHub:
    """A :class:`~datakit_ci.bridges.github.hub.Hub` that is GitHub, or a GitHub Enterprise."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: Token,
        *,
        url: str = PUBLIC,
        clone: str = "https://github.com",
        meter: Meter | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            session: For requests; its time-outs apply.
            token: Gives the token.
            url: Of the API.
            clone: What comes before ``/USER/REPO.git`` in the addresses to fetch from.
            meter: What to count with.
            pause: Waits so many seconds.
        """
        self._url = url.rstrip("/")
        self._clone = clone.rstrip("/")
        self._token = token
        self.client = _Client(session, self._url, token, meter or Meter(), pause)
        self._seen: dict[str, tuple[object, ...]] = {}

    async def look(self, project: str, scope: Scope) -> Snapshot:
        """What GitHub says of a part of a repository."""
        found = self._whole(project) if scope.whole else self._part(project, scope)
        return {key: value async for key, value in found}

    async def _whole(self, project: str) -> AsyncIterator[tuple[Key, Value]]:
        async for node in self._nodes(project, queries.PULLS, "pullRequests"):
            for each in queries.of_pull(node, await self._comments(project, node)):
                yield each
        for kind in ("heads", "tags"):
            async for node in self._nodes(project, queries.REFS, "refs", prefix=f"refs/{kind}/"):
                for each in queries.of_ref(kind, node):
                    yield each

    async def _part(self, project: str, scope: Scope) -> AsyncIterator[tuple[Key, Value]]:
        for number in sorted(scope.pulls):
            node = (await self._ask(project, queries.PULL, number=number))["pullRequest"]
            if node is not None:
                for each in queries.of_pull(node, await self._comments(project, node)):
                    yield each
        for ref in sorted(scope.refs, key=repr):
            name = f"refs/{ref.kind}/{ref.name}"
            node = (await self._ask(project, queries.REF, ref=name))["ref"]
            if node is not None:
                for each in queries.of_ref(ref.kind, node):
                    yield each
        for commit in sorted(scope.commits):
            node = (await self._ask(project, queries.COMMIT, commit=commit))["object"]
            if node is not None and node["__typename"] == "Commit":
                for each in queries.of_commit(node):
                    yield each

    async def _nodes(
        self, project: str, query: str, field: str, **variables: object
    ) -> AsyncIterator[Mapping[str, Any]]:
        cursor = None
        while True:
            page = (await self._ask(project, query, cursor=cursor, **variables))[field]
            for node in page["nodes"]:
                yield node
            if not page["pageInfo"]["hasNextPage"]:
                return
            cursor = page["pageInfo"]["endCursor"]

    async def _comments(self, project: str, node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """All comments of a pull request, of which ``node`` has the first hundred."""
        page = node["comments"]
        found = list(page["nodes"])
        while page["pageInfo"]["hasNextPage"]:
            answer = await self._ask(
                project,
                queries.COMMENTS,
                number=node["number"],
                cursor=page["pageInfo"]["endCursor"],
            )
            page = answer["pullRequest"]["comments"]
            found += page["nodes"]
        return found

    async def _ask(self, project: str, query: str, **variables: object) -> Mapping[str, Any]:
        owner, name = project.split("/")
        try:
            answer = await self.client.graphql(
                query, endpoint=self._graphql, owner=owner, name=name, **variables
            )
        except GitHubException as error:
            raise self._said(error, project) from error
        if answer["repository"] is None:
            raise Refused(f"GitHub has no {project}, or the token may not read it")
        return answer["repository"]  # type: ignore[no-any-return]

    @property
    def _graphql(self) -> str:
        """``…/graphql``: beside the REST API at GitHub, next to its version at an Enterprise."""
        return f"{self._url.removesuffix('/v3')}/graphql"

    async def clone_url(self, project: str) -> str:
        """Where to fetch commits from, with the token if there is one."""
        scheme, _, rest = self._clone.partition("://")
        token = await self._token() if scheme == "https" else ""
        credentials = f"x-access-token:{quote(token, safe='')}@" if token else ""
        return f"{scheme}://{credentials}{rest}/{project}.git"

    async def push(self, project: str, push: Push) -> tuple[Key, Value]:
        """Change something, and return it as GitHub says it is now."""
        try:
            return await self._push(f"/repos/{project}", push)
        except GitHubException as error:
            raise self._said(error, project) from error

    async def _push(self, path: str, push: Push) -> tuple[Key, Value]:
        match push:
            case SetStatus(key, status):
                data = {
                    "state": status.state,
                    "context": key.context,
                    "description": status.description[:DESCRIPTION_LIMIT],
                    "target_url": status.target_url,
                }
                said = await self.client.post(f"{path}/statuses/{key.commit}", data=data)
                return key, CommitStatus(
                    said["state"], said["description"] or "", said["target_url"] or ""
                )
            case SetTitle(key, title):
                said = await self.client.patch(f"{path}/pulls/{key.number}", data={"title": title})
                return key, _pull(said)
            case AddComment(key, body):
                said = await self.client.post(
                    f"{path}/issues/{key.number}/comments", data={"body": body}
                )
                return CommentKey(key.number, str(said["id"])), _comment(said)
            case EditComment(key, body):
                said = await self.client.patch(
                    f"{path}/issues/comments/{quote(key.id)}", data={"body": body}
                )
                return key, _comment(said)

    async def set_hook(self, project: str, url: str, secret: str, events: tuple[str, ...]) -> None:
        """Have a repository's events sent to ``url``; a hook that is there is brought in line."""
        path = f"/repos/{project}/hooks"
        config = {"url": url, "secret": secret, "content_type": "json", "insecure_ssl": "0"}
        data = {"events": list(events), "config": config, "active": True}
        try:
            async for hook in self.client.getiter(path):
                if hook["config"].get("url") == url:
                    await self.client.patch(f"{path}/{hook['id']}", data=data)
                    return
            await self.client.post(path, data={"name": "web", **data})
        except GitHubException as error:
            raise self._said(error, project) from error

    async def is_as_before(self, project: str) -> bool:
        """Whether lists of pull requests, refs and comments are as at the last call."""
        path = f"/repos/{project}"
        lists = (
            f"{path}/pulls?state=open&sort=updated&direction=desc&per_page=30",
            f"{path}/git/matching-refs/heads/?per_page=100",
            f"{path}/git/matching-refs/tags/?per_page=100",
            f"{path}/issues/comments?sort=updated&direction=desc&per_page=30",
        )
        try:
            now = tuple([str(await self.client.getitem(url, None)) for url in lists])
        except GitHubException as error:
            raise self._said(error, project) from error
        before, self._seen[project] = self._seen.get(project), now
        return before == now

    def _said(self, error: GitHubException, project: str) -> Unavailable | Refused:
        """GitHub's complaint as one of ours."""
        match error:
            case HTTPException() | BadGraphQLRequest():
                text = f"GitHub says {int(error.status_code)} of {project}: {error}"
                if error.status_code == 401:
                    return Unavailable("GitHub does not accept the token: it may have expired")
                later = error.status_code >= 500 or error.status_code == 429
                limited = isinstance(error, RateLimitExceeded) or "rate limit" in str(error)
                return Unavailable(text) if later or limited else Refused(text)
            case QueryError() if all(e.get("type") in _GONE for e in error.response["errors"]):
                return Refused(f"GitHub has no {project}, or the token may not read it")
            case _:
                return Unavailable(f"GitHub's answer about {project} makes no sense: {error}")


def _pull(said: Mapping[str, Any]) -> Pull:
    """A pull request as the REST API has it."""
    head, base = said["head"], said["base"]
    return Pull(
        head=head["sha"],
        title=" ".join(said["title"].split()),
        owner=(head["user"] or {}).get("login", ""),
        base=base["ref"],
        fork=(head["repo"] or {}).get("full_name") != base["repo"]["full_name"],
        state=said["state"],
    )


def _comment(said: Mapping[str, Any]) -> Comment:
    return Comment((said["user"] or {}).get("login", ""), said["body"])
