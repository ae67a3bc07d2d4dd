"""A GitHub on loopback: a real HTTP server with as much state and API as the bridge uses.

REST: pull requests, refs, statuses, comments, hooks, check runs; with pagination, ETags, limits and
faults. Requests and answers have to be as GitHub's published description has them.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from graphql import build_schema, graphql_sync

from tests.support.fake_checks import FakeApp, FakeRun, latest
from tests.support.github_rest import complaint_about_answer, complaint_about_request

__all__ = ["FakeGitHub", "FakePull", "FakeRepository", "Fault", "serve_github"]

_SCHEMA = build_schema(
    (Path(__file__).parent / "github_schema.graphql").read_text(encoding="utf-8")
)

_TOKENS = "/app/installations/{installation_id}/access_tokens"
_PAGE = 30
_MOST_PER_PAGE = 100


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
    at: str = ""
    """Part of the request line that it waits for; others behind it wait as well."""


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
        self.writers = {"ann"}
        self.runs: dict[int, FakeRun] = {}
        self.run_requests: list[tuple[str, str, str]] = []
        """Of check runs: method, name and status."""

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

    def comment(
        self, number: int, user: str, body: str, at: datetime | None = None, kind: str = "User"
    ) -> int:
        """Comment on a pull request, now or at another moment."""
        identity = next(self.hub.ids)
        self.pulls[number].comments[identity] = {"user": user, "body": body}
        said = {"id": identity, "body": body, "created_at": _moment(at),
                "user": {"login": user, "id": 1, "type": kind}}  # fmt: skip
        self._told_of_comment("created", number, said, user)
        return identity

    def review(self, number: int, user: str, body: str, commit: str) -> None:
        """Review a pull request at a commit: the one that whoever reviews it has looked at."""
        person = {"login": user, "id": 1, "type": "User"}
        review = {"id": next(self.hub.ids), "body": body, "commit_id": commit, "state": "commented",
                  "submitted_at": _moment(), "user": person}  # fmt: skip
        about = {**self._about(self.pulls[number]), "review": review}
        self.hub.tell(self, "pull_request_review", {"action": "submitted", **about}, user)

    def edit_comment(self, number: int, identity: int, body: str) -> None:
        self.pulls[number].comments[identity]["body"] = body
        said = {"id": identity, "body": body, "created_at": _moment(),
                "user": {"login": "ann", "id": 1, "type": "User"}}  # fmt: skip
        self._told_of_comment("edited", number, said)

    def remove_comment(self, number: int, identity: int) -> None:
        del self.pulls[number].comments[identity]
        self._told_of_comment("deleted", number, {"id": identity})

    def _told_of_comment(
        self, action: str, number: int, said: Mapping[str, object], user: str = "ann"
    ) -> None:
        issue = {"number": number, "pull_request": {}}
        about = {"action": action, "issue": issue, "comment": said}
        self.hub.tell(self, "issue_comment", about, user)

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

    def rerequest(self, name: str, commit: str, user: str = "ann", app: int = 0) -> None:
        """Click on "Re-run" beside a check run; without a name, on "Re-run all checks"."""
        about = {"head_sha": commit, "app": {"id": app or self.hub.app.id}}
        event, said = ("check_run", {"name": name, **about}) if name else ("check_suite", about)
        self.hub.tell_app(self, event, {"action": "rerequested", event: said}, user)

    def click(self, identifier: str, run: FakeRun, user: str = "ann") -> None:
        """Click on a button of a check run."""
        assert identifier in [action["identifier"] for action in run.actions], "no such button"
        self.hub.tell_app(
            self,
            "check_run",
            {
                "action": "requested_action",
                "requested_action": {"identifier": identifier},
                "check_run": run.to_json(),
            },
            user,
        )

    def run(self, name: str) -> FakeRun:
        """The newest check run of this name."""
        return max((run for run in self.runs.values() if run.name == name), key=lambda r: r.id)

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
            "user": {"login": pull.owner},
            "head": {
                "ref": "work",
                "sha": pull.head,
                "user": {"login": pull.owner},
                "repo": {"full_name": fork if pull.fork else self.name},
            },
            "base": {
                "ref": pull.base,
                "sha": self.refs.get(f"heads/{pull.base}", "0" * 40),
                "user": {"login": self.name.partition("/")[0]},
                "repo": {"full_name": self.name},
            },
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

        def suites(_info: object, first: int, **given: Any) -> dict[str, Any]:
            app = (given.get("filterBy") or {}).get("appId")
            runs = [run for run in self.runs.values() if run.head_sha == commit]
            suites = {run.app for run in runs if app in (None, run.app)}
            nodes = [{"checkRuns": _pages([r for r in runs if r.app == a])} for a in sorted(suites)]
            return _connection(nodes, first, None)

        return {"__typename": "Commit", "oid": commit, "status": status, "checkSuites": suites}


def _pages(runs: Sequence[FakeRun]) -> Callable[..., dict[str, Any]]:
    def page(_info: object, first: int, after: str | None = None, **given: Any) -> dict[str, Any]:
        wanted = latest(runs) if given["filterBy"]["checkType"] == "LATEST" else runs
        return _connection([run.of_query() for run in wanted], first, after)

    return page


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
        self.moved: dict[str, str] = {}
        """Old names of repositories, to which GitHub answers until another one has them."""
        self.ids = itertools.count(1000)
        self.requests: list[tuple[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.remaining = 5000
        self.app = FakeApp()
        self.wrong: list[str] = []
        """What is not as GitHub describes its API; :func:`serve_github` fails at the end."""
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
        self.moved.pop(name, None)
        return self.repositories.setdefault(name, FakeRepository(self, name))

    def rename(self, old: str, new: str) -> None:
        """Rename a repository, or give it to somebody else."""
        repository = self.repositories.pop(old)
        self.repositories[new], self.moved[old] = repository, new
        repository.name = new
        self.tell(repository, "repository", {"action": "renamed"})

    def remove(self, name: str) -> None:
        repository = self.repositories.pop(name)
        self.tell(repository, "repository", {"action": "deleted"})

    async def until_answered(self) -> None:
        """Wait for the next answer."""
        self._answered.clear()
        await self._answered.wait()

    def tell(
        self, repository: FakeRepository, event: str, payload: dict[str, Any], user: str = "ann"
    ) -> None:
        """Send an event to the hooks of a repository, unless it is lost."""
        if self.loses():
            return
        for hook in repository.hooks.values():
            if event in hook["events"]:
                self._send(hook["config"], repository, event, payload, user)

    def tell_app(
        self, repository: FakeRepository, event: str, payload: dict[str, Any], user: str
    ) -> None:
        """Send an event to the App, if it wants any."""
        if self.app.hook is not None and not self.loses():
            self._send(self.app.hook, repository, event, payload, user)

    def _send(
        self,
        hook: Mapping[str, str],
        repository: FakeRepository,
        event: str,
        payload: dict[str, Any],
        user: str,
    ) -> None:
        body = json.dumps(
            {**payload, "repository": {"full_name": repository.name}, "sender": {"login": user}}
        ).encode()
        signature = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"d-{next(self.ids)}",
            "X-Hub-Signature-256": f"sha256={signature}",
            "Content-Type": "application/json",
        }
        self.deliveries.put_nowait((hook["url"], event, body, headers))

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
        project = "/repos/{owner}/{repo}"
        app.add_routes(
            [
                web.post("/graphql", self._graphql),
                web.get(project + "/pulls", self._pulls),
                web.patch(project + "/pulls/{pull_number}", self._change_pull),
                web.get(project + "/git/matching-refs/{ref:.*}", self._refs),
                web.post(project + "/statuses/{sha}", self._status),
                web.get(project + "/issues/comments", self._all_comments),
                web.post(project + "/issues/{issue_number}/comments", self._comment),
                web.patch(project + "/issues/comments/{comment_id}", self._change_comment),
                web.get(project + "/hooks", self._hooks),
                web.post(project + "/hooks", self._add_hook),
                web.patch(project + "/hooks/{hook_id}", self._change_hook),
                web.post(project + "/check-runs", self._add_run),
                web.patch(project + "/check-runs/{check_run_id}", self._change_run),
                web.get(project + "/commits/{ref}/check-runs", self._runs),
                web.get(project + "/collaborators/{username}/permission", self._permission),
                web.post(_TOKENS, self.app.make_token),
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
        line = f"{request.method} {request.path}"
        fault = self.faults.popleft() if self.faults and self.faults[0].at in line else None
        if fault is not None and not fault.lost:
            return self._limited(_json({"message": fault.message}, fault.status, fault.headers))
        operation = f"{request.method} {_path(request)}"
        if operation != f"POST {_TOKENS}" and self._sent_token(request) not in (
            self.token,
            *self.app.tokens,
        ):
            return _json({"message": "Bad credentials"}, 401)
        if self.remaining <= 0:
            return self._limited(_json({"message": "API rate limit exceeded"}, 403))
        try:
            response: web.StreamResponse = await self._checked(operation, request, handler)
        except web.HTTPException as error:
            where = {"Location": error.headers["Location"]} if "Location" in error.headers else {}
            return self._limited(_json({"message": error.text}, error.status, where))
        if fault is not None:
            return self._limited(_json({"message": fault.message}, fault.status, fault.headers))
        if response.status != 304:
            self.remaining -= 1
        return self._limited(response)

    async def _checked(
        self, operation: str, request: web.Request, handler: Any
    ) -> web.StreamResponse:
        """Do it as GitHub's description of its API says, or refuse it as GitHub does."""
        if operation == "POST /graphql" or request.match_info.http_exception is not None:
            response: web.StreamResponse = await handler(request)
            return response
        complaint = complaint_about_request(operation, request.query, await request.read())
        if complaint:
            raise web.HTTPUnprocessableEntity(text=f"Validation Failed: {complaint}")
        response = await handler(request)
        if isinstance(response, web.Response) and response.status < 300:
            assert isinstance(response.body, bytes)
            if wrong := complaint_about_answer(operation, response.status, response.body):
                self.wrong.append(f"{operation}: {wrong}")
        return response

    def _sent_token(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("token ")

    def _limited(self, response: web.StreamResponse) -> web.StreamResponse:
        response.headers["X-RateLimit-Limit"] = "5000"
        response.headers["X-RateLimit-Remaining"] = str(max(0, self.remaining))
        response.headers["X-RateLimit-Reset"] = str(int(time.time()) + 3600)
        return response

    def _find(self, request: web.Request) -> FakeRepository:
        name = f"{request.match_info['owner']}/{request.match_info['repo']}"
        if name in self.moved:
            status = (
                web.HTTPMovedPermanently if request.method == "GET" else web.HTTPTemporaryRedirect
            )
            raise status(f"{self.url}{request.raw_path}".replace(name, self.moved[name], 1))
        if name not in self.repositories:
            raise web.HTTPNotFound(text="Not Found")
        return self.repositories[name]

    def _find_pull(self, request: web.Request, name: str) -> FakePull:
        pull = self._find(request).pulls.get(int(request.match_info[name]))
        if pull is None:
            raise web.HTTPNotFound(text="Not Found")
        return pull

    async def _graphql(self, request: web.Request) -> web.Response:
        asked = await request.json()

        def find(_info: object, owner: str, name: str) -> dict[str, Any] | None:
            full = f"{owner}/{name}"
            found = self.repositories.get(self.moved.get(full, full))
            return found.of_query() if found else None

        result = graphql_sync(
            _SCHEMA,
            asked["query"],
            {"repository": find},
            variable_values=asked.get("variables"),
            type_resolver=lambda value, _info, _type: value.get("__typename", "User"),
        )
        assert not result.errors, result.errors
        return _json({"data": result.data})

    async def _pulls(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        state = request.query.get("state", "open")
        pulls = [repository.pull_json(p) for p in repository.pulls.values() if p.state == state]
        return _cached(request, *_page(request, pulls))

    async def _change_pull(self, request: web.Request) -> web.StreamResponse:
        pull, asked = self._find_pull(request, "pull_number"), await request.json()
        if not asked.get("title", "").strip():
            raise web.HTTPUnprocessableEntity(text="Validation Failed")
        self._find(request).change_pull(pull.number, title=asked["title"].strip())
        return _json(self._find(request).pull_json(pull))

    async def _refs(self, request: web.Request) -> web.StreamResponse:
        prefix = request.match_info["ref"]
        found = [
            {"ref": f"refs/{ref}", "object": {"sha": commit, "type": "commit", "url": ""}}
            for ref, commit in sorted(self._find(request).refs.items())
            if ref.startswith(prefix)
        ]
        return _cached(request, *_page(request, found))

    async def _status(self, request: web.Request) -> web.StreamResponse:
        repository, asked = self._find(request), await request.json()
        commit = request.match_info["sha"]
        if len(asked.get("description") or "") > 140:
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
        pull, asked = self._find_pull(request, "issue_number"), await request.json()
        identity = self._find(request).comment(pull.number, self.login, asked["body"])
        return _json(self._comment_json(identity, pull.comments[identity]), 201)

    async def _change_comment(self, request: web.Request) -> web.StreamResponse:
        wanted, asked = int(request.match_info["comment_id"]), await request.json()
        for pull in self._find(request).pulls.values():
            if wanted in pull.comments:
                self._find(request).edit_comment(pull.number, wanted, asked["body"])
                return _json(self._comment_json(wanted, pull.comments[wanted]))
        raise web.HTTPNotFound(text="Not Found")

    def _comment_json(self, identity: int, said: Mapping[str, str]) -> dict[str, Any]:
        user = {"login": said["user"], "id": 1}
        return {"id": identity, "body": said["body"], "user": user}

    async def _hooks(self, request: web.Request) -> web.StreamResponse:
        return _cached(request, *_page(request, list(self._find(request).hooks.values())))

    async def _add_hook(self, request: web.Request) -> web.StreamResponse:
        repository, asked = self._find(request), await request.json()
        identity = next(self.ids)
        about = {"id": identity, "name": "web", "active": True, "url": str(request.url)}
        repository.hooks[identity] = about | asked
        return _json(repository.hooks[identity], 201)

    async def _change_hook(self, request: web.Request) -> web.StreamResponse:
        hook = self._find(request).hooks.get(int(request.match_info["hook_id"]))
        if hook is None:
            raise web.HTTPNotFound(text="Not Found")
        hook.update(await request.json())
        return _json(hook)

    def _app_only(self, request: web.Request) -> None:
        if self._sent_token(request) not in self.app.tokens:
            raise web.HTTPForbidden(text="You must authenticate via a GitHub App.")

    async def _add_run(self, request: web.Request) -> web.StreamResponse:
        self._app_only(request)
        repository, asked = self._find(request), await request.json()
        run = FakeRun(next(self.ids), self.app.id, asked["name"], asked["head_sha"])
        run.change(asked)
        repository.runs[run.id] = run
        repository.run_requests.append(("POST", run.name, run.status))
        return _json(run.to_json(), 201)

    async def _change_run(self, request: web.Request) -> web.StreamResponse:
        self._app_only(request)
        repository = self._find(request)
        run = repository.runs.get(int(request.match_info["check_run_id"]))
        if run is None:
            raise web.HTTPNotFound(text="Not Found")
        run.change(await request.json())
        repository.run_requests.append(("PATCH", run.name, run.status))
        return _json(run.to_json())

    async def _runs(self, request: web.Request) -> web.StreamResponse:
        name, app = request.query.get("check_name"), request.query.get("app_id")
        found = [
            run
            for run in self._find(request).runs.values()
            if run.head_sha == request.match_info["ref"]
            and name in (None, run.name)
            and app in (None, str(run.app))
        ]
        if request.query.get("filter", "latest") == "latest":
            found = latest(found)
        page, headers = _page(request, [run.to_json() for run in found])
        return _cached(request, {"total_count": len(found), "check_runs": page}, headers)

    async def _permission(self, request: web.Request) -> web.StreamResponse:
        user = request.match_info["username"]
        level = "write" if user in self._find(request).writers else "read"
        return _cached(
            request, {"permission": level, "role_name": level, "user": {"login": user, "id": 1}}
        )


def _moment(at: datetime | None = None) -> str:
    """Now or another moment as GitHub writes it, to a second."""
    moment = at or datetime.now(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _path(request: web.Request) -> str:
    """The path of the route, with the names of its parts."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


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
    assert not hub.wrong, hub.wrong
