"""A GitHub on loopback: a real HTTP server with as much state and API as the bridge uses.

REST: pull requests, refs, statuses, comments, hooks; with pagination, ETags, limits and faults.
GraphQL: executed by graphql-core against a part of the published schema. What happens in a
repository is told to its hooks, signed, unless the test loses events.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from graphql import build_schema, graphql_sync

__all__ = ["FakeGitHub", "FakePull", "FakeRepository", "Fault", "serve_github"]

_SCHEMA = build_schema(
    """
    scalar GitObjectID
    scalar URI
    type Query { repository(owner: String!, name: String!): Repository }
    type Repository {
      nameWithOwner: String!
      pullRequests(states: [PullRequestState!], first: Int, after: String): PullRequestConnection!
      pullRequest(number: Int!): PullRequest
      refs(refPrefix: String!, first: Int, after: String): RefConnection
      ref(qualifiedName: String!): Ref
      object(oid: GitObjectID): GitObject
    }
    enum PullRequestState { OPEN CLOSED MERGED }
    enum StatusState { EXPECTED ERROR FAILURE PENDING SUCCESS }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type PullRequestConnection { nodes: [PullRequest] pageInfo: PageInfo! totalCount: Int! }
    type RefConnection { nodes: [Ref] pageInfo: PageInfo! totalCount: Int! }
    type PullRequest {
      number: Int! title: String! state: PullRequestState! headRefOid: GitObjectID!
      baseRefName: String! isCrossRepository: Boolean! headRepositoryOwner: User
      comments(first: Int, after: String): IssueCommentConnection!
      commits(last: Int): PullRequestCommitConnection!
    }
    type User { login: String! }
    type IssueCommentConnection { nodes: [IssueComment] pageInfo: PageInfo! totalCount: Int! }
    type IssueComment { databaseId: Int body: String! author: User }
    type PullRequestCommitConnection { nodes: [PullRequestCommit] }
    type PullRequestCommit { commit: Commit! }
    type Ref { name: String! prefix: String! target: GitObject }
    interface GitObject { oid: GitObjectID! }
    type Commit implements GitObject { oid: GitObjectID! status: Status }
    type Tag implements GitObject { oid: GitObjectID! target: GitObject! }
    type Blob implements GitObject { oid: GitObjectID! }
    type Status { contexts: [StatusContext!]! }
    type StatusContext {
      context: String! state: StatusState! description: String targetUrl: URI
    }
    """
)

_PAGE = 30
_MOST_PER_PAGE = 100
_STATES = ("error", "failure", "pending", "success")


@dataclass
class FakePull:
    """A pull request."""

    number: int
    head: str
    title: str
    base: str = "main"
    owner: str = "ann"
    fork: bool = False
    state: str = "open"
    comments: dict[int, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """An answer that is given instead of the right one; ``lost`` ones come after the work."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "a fault"
    lost: bool = False


class FakeRepository:
    """One repository; its methods are what people do on GitHub, and they tell the hooks."""

    def __init__(self, hub: FakeGitHub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.pulls: dict[int, FakePull] = {}
        self.refs: dict[str, str] = {}
        self.tag_objects: dict[str, str] = {}
        self.statuses: dict[str, dict[str, dict[str, str]]] = {}
        self.status_posts = 0
        self.hooks: dict[int, dict[str, Any]] = {}

    def open_pull(self, pull: FakePull) -> FakePull:
        self.pulls[pull.number] = pull
        self.hub.tell(self, "pull_request", {"action": "opened", **self._about(pull)})
        return pull

    def change_pull(self, number: int, **values: object) -> None:
        pull = self.pulls[number]
        for name, value in values.items():
            setattr(pull, name, value)
        action = {"head": "synchronize", "state": "closed"}.get(next(iter(values)), "edited")
        self.hub.tell(self, "pull_request", {"action": action, **self._about(pull)})

    def _about(self, pull: FakePull) -> dict[str, Any]:
        return {"number": pull.number, "pull_request": self.pull_json(pull)}

    def comment(self, number: int, user: str, body: str) -> int:
        identity = next(self.hub.ids)
        self.pulls[number].comments[identity] = {"user": user, "body": body}
        self._told_of_comment("created", number, identity)
        return identity

    def edit_comment(self, number: int, identity: int, body: str) -> None:
        self.pulls[number].comments[identity]["body"] = body
        self._told_of_comment("edited", number, identity)

    def remove_comment(self, number: int, identity: int) -> None:
        del self.pulls[number].comments[identity]
        self._told_of_comment("deleted", number, identity)

    def _told_of_comment(self, action: str, number: int, identity: int) -> None:
        issue = {"number": number, "pull_request": {}}
        self.hub.tell(
            self, "issue_comment", {"action": action, "issue": issue, "comment": {"id": identity}}
        )

    def set_ref(self, ref: str, commit: str) -> None:
        """``ref`` is ``heads/NAME`` or ``tags/NAME``."""
        created = ref not in self.refs
        self.refs[ref] = commit
        if created:
            self._told_of_ref("create", ref)
        self.hub.tell(self, "push", {"ref": f"refs/{ref}", "after": commit})

    def remove_ref(self, ref: str) -> None:
        del self.refs[ref]
        self._told_of_ref("delete", ref)

    def _told_of_ref(self, event: str, ref: str) -> None:
        kind, _, name = ref.partition("/")
        kind = "branch" if kind == "heads" else "tag"
        self.hub.tell(self, event, {"ref": name, "ref_type": kind})

    def set_status(self, commit: str, context: str, state: str, text: str = "") -> None:
        said = {"state": state, "description": text, "target_url": ""}
        self.statuses.setdefault(commit, {})[context] = said
        self.hub.tell(self, "status", {"sha": commit, "context": context, "state": state})

    def heads(self) -> set[str]:
        """The commits that something is at."""
        open_pulls = (pull.head for pull in self.pulls.values() if pull.state == "open")
        return {*self.refs.values(), *open_pulls}

    def pull_json(self, pull: FakePull) -> dict[str, Any]:
        fork = f"{pull.owner}/fork-of-it"
        return {
            "number": pull.number,
            "state": pull.state,
            "title": pull.title,
            "head": {
                "sha": pull.head,
                "user": {"login": pull.owner},
                "repo": {"full_name": fork if pull.fork else self.name},
            },
            "base": {"ref": pull.base, "repo": {"full_name": self.name}},
        }

    # The names below are those of the GraphQL schema.

    def of_query(self) -> dict[str, Any]:
        return {
            "nameWithOwner": self.name,
            "pullRequests": self._pull_page,
            "pullRequest": lambda _info, number: self._pull(self.pulls.get(number)),
            "refs": self._ref_page,
            "ref": lambda _info, **given: self._ref(given["qualifiedName"].removeprefix("refs/")),
            "object": lambda _info, oid: self._commit(oid),
        }

    def _pull_page(
        self, _info: object, states: Sequence[str] = (), first: int = 0, after: str | None = None
    ) -> dict[str, Any]:
        wanted = [p for p in self.pulls.values() if not states or p.state.upper() in states]
        return _connection([self._pull(pull) for pull in wanted], first, after)

    def _pull(self, pull: FakePull | None) -> dict[str, Any] | None:
        if pull is None:
            return None
        comments = [
            {"databaseId": identity, "body": said["body"], "author": {"login": said["user"]}}
            for identity, said in pull.comments.items()
        ]
        return {
            "number": pull.number,
            "title": pull.title,
            "state": pull.state.upper(),
            "headRefOid": pull.head,
            "baseRefName": pull.base,
            "isCrossRepository": pull.fork,
            "headRepositoryOwner": {"login": pull.owner} if pull.owner else None,
            "comments": lambda _info, first, after=None: _connection(comments, first, after),
            "commits": lambda _info, last: {"nodes": [{"commit": self._commit(pull.head)}]},
        }

    def _ref_page(
        self, _info: object, first: int, after: str | None = None, **given: str
    ) -> dict[str, Any]:
        prefix = given["refPrefix"].removeprefix("refs/")
        return _connection(
            [self._ref(ref) for ref in sorted(self.refs) if ref.startswith(prefix)], first, after
        )

    def _ref(self, ref: str) -> dict[str, Any] | None:
        if ref not in self.refs:
            return None
        target = self._commit(self.refs[ref])
        if ref in self.tag_objects:
            target = {"__typename": "Tag", "oid": self.tag_objects[ref], "target": target}
        kind, _, name = ref.partition("/")
        return {"name": name, "prefix": f"refs/{kind}/", "target": target}

    def _commit(self, commit: str) -> dict[str, Any]:
        contexts = [
            {
                "context": context,
                "state": said["state"].upper(),
                "description": said["description"],
                "targetUrl": said["target_url"] or None,
            }
            for context, said in self.statuses.get(commit, {}).items()
        ]
        status = {"contexts": contexts} if contexts else None
        return {"__typename": "Commit", "oid": commit, "status": status}


def _connection(nodes: Sequence[object], first: int, after: str | None) -> dict[str, Any]:
    assert 0 < first <= _MOST_PER_PAGE, "GitHub refuses such a page"
    start = int(after) if after else 0
    end = start + first
    return {
        "nodes": nodes[start:end],
        "totalCount": len(nodes),
        "pageInfo": {"hasNextPage": end < len(nodes), "endCursor": str(end)},
    }


class FakeGitHub:
    """The state of all repositories, and how the server shall behave."""

    def __init__(self, token: str = "a-token") -> None:
        self.token = token
        self.login = "datakit-bot"
        self.repositories: dict[str, FakeRepository] = {}
        self.ids = itertools.count(1000)
        self.requests: list[tuple[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.remaining = 5000
        self.latency = 0.0
        self.loses: Callable[[], bool] = lambda: False
        self.deliveries: asyncio.Queue[tuple[str, str, bytes, dict[str, str]]] = asyncio.Queue()
        self.url = ""
        self._answered = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until ``holds()``, which can change whenever a request has been answered."""
        while not holds():
            self._answered.clear()
            await self._answered.wait()

    def repository(self, name: str) -> FakeRepository:
        return self.repositories.setdefault(name, FakeRepository(self, name))

    def tell(self, repository: FakeRepository, event: str, payload: dict[str, Any]) -> None:
        """Send an event to the hooks of a repository, unless it is lost."""
        if self.loses():
            return
        body = json.dumps(
            {**payload, "repository": {"full_name": repository.name}, "sender": {"login": "ann"}}
        ).encode()
        for hook in repository.hooks.values():
            if event in hook["events"]:
                secret = hook["config"]["secret"].encode()
                headers = {
                    "X-GitHub-Event": event,
                    "X-GitHub-Delivery": f"d-{next(self.ids)}",
                    "X-Hub-Signature-256": "sha256="
                    + hmac.new(secret, body, hashlib.sha256).hexdigest(),
                    "Content-Type": "application/json",
                }
                self.deliveries.put_nowait((hook["config"]["url"], event, body, headers))

    async def deliver(self) -> None:
        """Send the events that wait to be sent, one after the other, for ever."""
        async with aiohttp.ClientSession() as session:
            while True:
                url, _, body, headers = await self.deliveries.get()
                try:
                    async with session.post(url, data=body, headers=headers):
                        pass
                except aiohttp.ClientError:
                    pass  # GitHub does not try again either
                finally:
                    self.deliveries.task_done()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        project = "/repos/{user}/{repo}"
        app.add_routes(
            [
                web.post("/graphql", self._graphql),
                web.get(project, self._repository),
                web.get(project + "/pulls", self._pulls),
                web.patch(project + "/pulls/{number}", self._change_pull),
                web.get(project + "/git/matching-refs/{prefix:.*}", self._refs),
                web.post(project + "/statuses/{sha}", self._status),
                web.get(project + "/issues/comments", self._all_comments),
                web.post(project + "/issues/{number}/comments", self._comment),
                web.patch(project + "/issues/comments/{id}", self._change_comment),
                web.get(project + "/hooks", self._hooks),
                web.post(project + "/hooks", self._add_hook),
                web.patch(project + "/hooks/{id}", self._change_hook),
            ]
        )
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        try:
            return await self._respond(request, handler)
        finally:
            self._answered.set()

    async def _respond(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and not fault.lost:
            return self._limited(_json({"message": fault.message}, fault.status, fault.headers))
        if request.headers.get("Authorization") != f"token {self.token}":
            return _json({"message": "Bad credentials"}, 401)
        if self.remaining <= 0:
            return self._limited(_json({"message": "API rate limit exceeded"}, 403))
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            return self._limited(_json({"message": error.text}, error.status))
        if fault is not None:
            return self._limited(_json({"message": fault.message}, fault.status, fault.headers))
        if response.status != 304:
            self.remaining -= 1
        return self._limited(response)

    def _limited(self, response: web.StreamResponse) -> web.StreamResponse:
        response.headers["X-RateLimit-Limit"] = "5000"
        response.headers["X-RateLimit-Remaining"] = str(max(0, self.remaining))
        response.headers["X-RateLimit-Reset"] = str(int(time.time()) + 3600)
        return response

    def _find(self, request: web.Request) -> FakeRepository:
        name = f"{request.match_info['user']}/{request.match_info['repo']}"
        if name not in self.repositories:
            raise web.HTTPNotFound(text="Not Found")
        return self.repositories[name]

    def _find_pull(self, request: web.Request) -> FakePull:
        pull = self._find(request).pulls.get(int(request.match_info["number"]))
        if pull is None:
            raise web.HTTPNotFound(text="Not Found")
        return pull

    async def _graphql(self, request: web.Request) -> web.Response:
        asked = await request.json()

        def find(_info: object, owner: str, name: str) -> dict[str, Any] | None:
            found = self.repositories.get(f"{owner}/{name}")
            return found.of_query() if found else None

        result = graphql_sync(
            _SCHEMA,
            asked["query"],
            {"repository": find},
            variable_values=asked.get("variables"),
            type_resolver=lambda value, _info, _type: value["__typename"],
        )
        assert not result.errors, result.errors
        return _json({"data": result.data})

    async def _repository(self, request: web.Request) -> web.StreamResponse:
        return _cached(request, {"full_name": self._find(request).name})

    async def _pulls(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        state = request.query.get("state", "open")
        pulls = [repository.pull_json(p) for p in repository.pulls.values() if p.state == state]
        return _cached(request, *_page(request, pulls))

    async def _change_pull(self, request: web.Request) -> web.StreamResponse:
        pull, asked = self._find_pull(request), await request.json()
        if not asked.get("title", "").strip():
            raise web.HTTPUnprocessableEntity(text="Validation Failed")
        self._find(request).change_pull(pull.number, title=asked["title"].strip())
        return _json(self._find(request).pull_json(pull))

    async def _refs(self, request: web.Request) -> web.StreamResponse:
        prefix = request.match_info["prefix"]
        found = [
            {"ref": f"refs/{ref}", "object": {"sha": commit, "type": "commit"}}
            for ref, commit in sorted(self._find(request).refs.items())
            if ref.startswith(prefix)
        ]
        return _cached(request, *_page(request, found))

    async def _status(self, request: web.Request) -> web.StreamResponse:
        repository, asked = self._find(request), await request.json()
        commit = request.match_info["sha"]
        if asked.get("state") not in _STATES or len(asked.get("description") or "") > 140:
            raise web.HTTPUnprocessableEntity(text="Validation Failed")
        repository.status_posts += 1
        repository.statuses.setdefault(commit, {})[asked["context"]] = {
            "state": asked["state"],
            "description": asked.get("description") or "",
            "target_url": asked.get("target_url") or "",
        }
        self.tell(repository, "status", {"sha": commit, **asked})
        said = {name: asked.get(name) or None for name in ("description", "target_url")}
        return _json({"state": asked["state"], "context": asked["context"], **said}, 201)

    async def _all_comments(self, request: web.Request) -> web.StreamResponse:
        found = [
            self._comment_json(identity, said)
            for pull in self._find(request).pulls.values()
            for identity, said in pull.comments.items()
        ]
        return _cached(request, *_page(request, found))

    async def _comment(self, request: web.Request) -> web.StreamResponse:
        pull, asked = self._find_pull(request), await request.json()
        identity = self._find(request).comment(pull.number, self.login, asked["body"])
        return _json(self._comment_json(identity, pull.comments[identity]), 201)

    async def _change_comment(self, request: web.Request) -> web.StreamResponse:
        wanted, asked = int(request.match_info["id"]), await request.json()
        for pull in self._find(request).pulls.values():
            if wanted in pull.comments:
                self._find(request).edit_comment(pull.number, wanted, asked["body"])
                return _json(self._comment_json(wanted, pull.comments[wanted]))
        raise web.HTTPNotFound(text="Not Found")

    def _comment_json(self, identity: int, said: Mapping[str, str]) -> dict[str, Any]:
        return {"id": identity, "body": said["body"], "user": {"login": said["user"]}}

    async def _hooks(self, request: web.Request) -> web.StreamResponse:
        return _cached(request, *_page(request, list(self._find(request).hooks.values())))

    async def _add_hook(self, request: web.Request) -> web.StreamResponse:
        repository, asked = self._find(request), await request.json()
        identity = next(self.ids)
        repository.hooks[identity] = {"id": identity, "name": "web", "active": True, **asked}
        return _json(repository.hooks[identity], 201)

    async def _change_hook(self, request: web.Request) -> web.StreamResponse:
        hook = self._find(request).hooks.get(int(request.match_info["id"]))
        if hook is None:
            raise web.HTTPNotFound(text="Not Found")
        hook.update(await request.json())
        return _json(hook)


def _page(request: web.Request, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """The page that was asked for, and the header that names the next one (RFC 8288)."""
    size = min(int(request.query.get("per_page", _PAGE)), _MOST_PER_PAGE)
    number = int(request.query.get("page", 1))
    rest = items[number * size :]
    if not rest:
        return items[(number - 1) * size :], {}
    following = request.url.update_query(page=number + 1)
    return items[(number - 1) * size : number * size], {"Link": f'<{following}>; rel="next"'}


def _cached(
    request: web.Request, value: object, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """An answer with an ETag; or only that, if that is what the client has (RFC 9110)."""
    etag = '"' + hashlib.sha256(json.dumps(value).encode()).hexdigest() + '"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    return _json(value, 200, {"ETag": etag, **(headers or {})})


def _json(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response(value, status=status, headers=dict(headers or {}))


@asynccontextmanager
async def serve_github(hub: FakeGitHub) -> AsyncIterator[FakeGitHub]:
    """Serve ``hub`` on loopback, and deliver its events; ``hub.url`` is that of its API."""
    runner = web.AppRunner(hub.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with asyncio.TaskGroup() as tasks:
            delivering = tasks.create_task(hub.deliver())
            try:
                yield hub
            finally:
                delivering.cancel()
    finally:
        await runner.cleanup()
