"""GitHub's API through gidgethub: looking at repositories, changing things, keeping to limits.

Reading is GraphQL, which brings a repository in a few requests; changes are REST, and so is the
cheap look whether anything is new, by requests with ETags that do not count against the limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
from gidgethub import (
    BadGraphQLRequest,
    GitHubException,
    HTTPException,
    QueryError,
    RateLimitExceeded,
)

from datakit_ci.bridges.github import queries
from datakit_ci.bridges.github.checkruns import CheckRuns
from datakit_ci.bridges.github.client import Client, Pause, Token
from datakit_ci.bridges.github.former import FormerStatuses
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
    StatusKey,
    Value,
)
from datakit_ci.bridges.github.scope import Scope
from datakit_ci.metadata import DESCRIPTION_LIMIT, CommitStatus

__all__ = ["GitHub"]

_log = logging.getLogger(__name__)

_GONE = frozenset({"NOT_FOUND"})


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
        checks: CheckRuns | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            session: For requests; its time-outs apply.
            token: Gives the token.
            url: Of the API.
            clone: What comes before ``/USER/REPO.git`` in the addresses to fetch from.
            meter: What to count with.
            pause: Waits so many seconds.
            checks: Says by check runs what it may; none: the token is no App's.
        """
        self._checks = checks
        self._former = None if checks is None else FormerStatuses(checks.may)
        self._url = url.rstrip("/")
        self._clone = clone.rstrip("/")
        self._token = token
        self.client = Client(session, self._url, token, meter or Meter(), pause)
        self._seen: dict[str, bytes] = {}
        self._names: dict[str, str] = {}

    async def look(self, project: str, scope: Scope) -> Snapshot:
        """What GitHub says of a part of a repository."""
        if scope.whole and self._former is not None:
            self._former.forget(project)
        looking = self._whole(project) if scope.whole else self._part(project, scope)
        found = {key: value async for key, value in looking}
        if self._former is not None:
            self._former.correct(project, found)
        return found

    def _note_former(self, project: str, node: Mapping[str, Any]) -> None:
        """Keep statuses from before the bridge was an App apart: they stand for no check run."""
        if self._former is not None:
            self._former.note(project, queries.take_statuses(node, self._former.is_one))

    async def _whole(self, project: str) -> AsyncIterator[tuple[Key, Value]]:
        async for node in self._nodes(project, queries.PULLS, "pullRequests"):
            async for each in self._of_pull(project, node):
                yield each
        for kind in ("heads", "tags"):
            async for node in self._nodes(project, queries.REFS, "refs", prefix=f"refs/{kind}/"):
                async for each in self._of_ref(project, kind, node):
                    yield each

    async def _part(self, project: str, scope: Scope) -> AsyncIterator[tuple[Key, Value]]:
        for number in sorted(scope.pulls):
            node = (await self._ask(project, queries.PULL, number=number))["pullRequest"]
            async for each in self._of_pull(project, node):
                yield each
        for ref in sorted(scope.refs, key=repr):
            name = f"refs/{ref.kind}/{ref.name}"
            node = (await self._ask(project, queries.REF, ref=name))["ref"]
            async for each in self._of_ref(project, ref.kind, node):
                yield each
        for commit in sorted(scope.commits):
            node = (await self._ask(project, queries.COMMIT, commit=commit))["object"]
            if node is not None and node["__typename"] == "Commit":
                async for each in self._of_commit(project, node):
                    yield each

    async def _of_pull(
        self, project: str, node: Mapping[str, Any] | None
    ) -> AsyncIterator[tuple[Key, Value]]:
        if node is not None:
            self._note_former(project, node)
            for each in queries.of_pull(node, await self._comments(project, node)):
                yield each
            async for more in self._more_checks(project, node):
                yield more

    async def _of_ref(
        self, project: str, kind: str, node: Mapping[str, Any] | None
    ) -> AsyncIterator[tuple[Key, Value]]:
        if node is not None:
            self._note_former(project, node)
            for each in queries.of_ref(kind, node):
                yield each
            async for more in self._more_checks(project, node):
                yield more

    async def _of_commit(
        self, project: str, node: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Key, Value]]:
        self._note_former(project, node)
        for each in queries.of_commit(node):
            yield each
        async for more in self._more_checks(project, node):
            yield more

    async def _more_checks(
        self, project: str, node: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Key, Value]]:
        """The check runs of an answer's commits that did not fit into it."""
        left = list(queries.unfinished_checks(node)) if self._checks is not None else []
        while left and self._checks is not None:
            commit, cursor = left.pop()
            query = queries.more_checks(self._checks.app)
            found = (await self._ask(project, query, commit=commit, cursor=cursor))["object"]
            for each in queries.of_commit(found):
                yield each
            left += queries.unfinished_checks(found)

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
        if self._checks is not None:
            query = queries.with_checks(query, self._checks.app)
        try:
            answer = await self.client.graphql(
                query, endpoint=self._graphql, owner=owner, name=name, **variables
            )
        except GitHubException as error:
            raise self._said(error, project) from error
        if answer["repository"] is None:
            raise Refused(f"GitHub has no {project}, or the token may not read it")
        self._note_name(project, answer["repository"]["nameWithOwner"])
        return answer["repository"]  # type: ignore[no-any-return]

    def _note_name(self, project: str, name: str) -> None:
        """Remember what GitHub calls a repository now: it answers to old names as well."""
        if name == project or self._names.get(name) == project:
            return
        self._names[name] = project
        if name.lower() != project.lower():
            _log.warning(
                "%s is called %s on GitHub now; it is still %s here, until somebody monitors it by "
                "its new name", project, name, project,
            )  # fmt: skip

    def monitored_as(self, name: str) -> str:
        """The name by which a repository is asked for that GitHub calls ``name``."""
        return self._names.get(name, name)

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
            return await self._push(project, push)
        except GitHubException as error:
            raise self._said(error, project) from error

    def _as_check(self, key: StatusKey) -> bool:
        return self._checks is not None and self._checks.may.holds_check(key.context)

    async def _push(self, project: str, push: Push) -> tuple[Key, Value]:
        path = f"/repos/{project}"
        match push:
            case SetStatus(key, status) if self._as_check(key):
                assert self._checks is not None
                told = await self._checks.push(self.client, project, key, status)
                await self._bring_up(project, key, told)
                return key, told
            case SetStatus(key, status):
                return key, await self._set_status(project, key, status)
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

    async def _set_status(self, project: str, key: StatusKey, status: CommitStatus) -> CommitStatus:
        data = {
            "state": status.state,
            "context": key.context,
            "description": status.description[:DESCRIPTION_LIMIT],
            "target_url": status.target_url,
        }
        said = await self.client.post(f"/repos/{project}/statuses/{key.commit}", data=data)
        return CommitStatus(said["state"], said["description"] or "", said["target_url"] or "")

    async def _bring_up(self, project: str, key: StatusKey, told: CommitStatus) -> None:
        """Have a status from before the bridge was an App say what the check run says."""
        if self._former is None or (wanted := self._former.outdated(project, key, told)) is None:
            return
        try:
            self._former.told(project, key, wanted)
            self._former.note(project, {key: await self._set_status(project, key, wanted)})
        except GitHubException as error:
            said = self._said(error, project)
            if not isinstance(said, Refused):
                raise
            self._former.mute(project)
            _log.warning("statuses from before there were check runs stay as they are: %s", said)

    async def may_write(self, project: str, user: str) -> bool:
        """Whether GitHub lets a person write to a repository."""
        path = f"/repos/{project}/collaborators/{quote(user, safe='')}/permission"
        try:
            return (await self.client.getitem(path, None))["permission"] in ("admin", "write")
        except GitHubException as error:
            said = self._said(error, project)
            if isinstance(said, Refused):
                _log.warning("it cannot be known whether %s may write: %s", user, said)
                return False
            raise said from error

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
            answers = [await self.client.getitem(url, None) for url in lists]
        except GitHubException as error:
            raise self._said(error, project) from error
        now = hashlib.sha256(str(answers).encode(errors="surrogatepass")).digest()
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
