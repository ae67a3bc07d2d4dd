"""``datakit-ci rebuild``, ``cancel``, ``confirm``, ``approve``, ``pause``, ``resume``."""

from __future__ import annotations

import getpass
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from datakit_ci.cli.options import own_database
from datakit_ci.cli.server import Refused, Server, ServerUrl, TokenFile, named_server
from datakit_core.cli.work import Connect, Git, Json, work_on
from datakit_core.errors import ConfigError, DatakitError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.control import Command
    from datakit_ci.state import BuildId
    from datakit_ci.target import Target
    from datakit_core.client.api import Database

__all__ = ["commands"]

commands = typer.Typer()

_WHOEVER = "whoever has the token"
"""Stands for whom a server knows by the token; it never gets there."""

What: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="USER/REPO/heads/NAME, USER/REPO/tags/NAME, USER/REPO/pr/N or flows/BRANCH; or one "
        "build, by the address of its page.",
    ),
]
Job: TypeAlias = Annotated[str, typer.Argument(metavar="[JOB]", help="Only this job.")]
ProjectId: TypeAlias = Annotated[
    str, typer.Argument(metavar="PROJECT", help="USER/REPO, or flows for all flows.")
]
User: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Who says so. Default: user.name of Git, or the login name.",
        show_default=False,
    ),
]
Patience: TypeAlias = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.1, help="How long to wait for an engine's answer."
    ),
]


@commands.command()
def rebuild(
    what: What,
    job: Job = "",
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what did not pass.", show_default=False)
    ] = False,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Make results again: of a target, of one of its jobs, or of one build."""
    from datakit_ci.control import Rebuild

    _ask(
        lambda name: Rebuild(name, _what(what), job, only_failed=failed),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@commands.command()
def cancel(
    what: What,
    job: Job = "",
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Stop what runs or waits. It stays so until somebody rebuilds it."""
    from datakit_ci.control import Cancel

    _ask(
        lambda name: Cancel(name, _what(what), job),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@commands.command()
def confirm(
    what: What,
    job: Job = "",
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Let dangerous builds run, once, that wait for a person to say so."""
    from datakit_ci.control import Confirm

    _ask(
        lambda name: Confirm(name, _what(what), job),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@commands.command()
def approve(
    pull_request: Annotated[
        str, typer.Argument(metavar="TARGET", help="USER/REPO/pr/N, a pull request of a fork.")
    ],
    commit: Annotated[
        str,
        typer.Argument(
            metavar="[COMMIT]", help="All digits of the commit that you have looked at."
        ),
    ] = "",
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Let a fork's pull request be tested, at the commit that it is at."""
    from datakit_ci.control import Approve
    from datakit_ci.target import Target
    from datakit_core.client.api import CommitId
    from datakit_core.store.objects import parse_id

    at = CommitId(parse_id(commit)) if commit else None
    _ask(
        lambda name: Approve(name, Target.named(pull_request), at),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@commands.command()
def pause(
    project: ProjectId,
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Start nothing new in a project; what runs goes on."""
    from datakit_ci.control import Pause

    _ask(
        lambda name: Pause(name, project),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@commands.command()
def resume(
    project: ProjectId,
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """End a pause."""
    from datakit_ci.control import Resume

    _ask(
        lambda name: Resume(name, project),
        How(user, timeout, connect, git, server, token_file, as_json),
    )


@dataclass(frozen=True, slots=True)
class How:
    """Where a command goes, and in whose name; as the options say it."""

    user: str
    timeout: float
    connect: str | None
    git: Path | None
    server: str
    token_file: Path | None
    as_json: bool


def _ask(command: Callable[[str], Command], how: How) -> None:
    """Have a command carried out, and say what came of it; in a repository, leave it there."""
    server = named_server(how.server, how.token_file, how.connect, how.git)
    if server is not None and how.user:
        raise ConfigError("with --server it is the token that says who you are", "--user")
    try:
        wanted = command(how.user or (_WHOEVER if server is not None else _user()))
    except ConfigError:
        raise
    except DatakitError as error:
        raise ConfigError(str(error)) from error
    if server is not None:
        _ask_server(server, wanted, as_json=how.as_json)
    else:
        _ask_database(wanted, how)


def _ask_server(server: Server, wanted: Command, *, as_json: bool) -> None:
    try:
        text = server.post(*_request(wanted))["text"]
    except Refused as error:
        _tell(False, str(error), as_json=as_json)
    else:
        _tell(True, str(text), as_json=as_json)


def _request(wanted: Command) -> tuple[str, Mapping[str, object]]:
    """Where a command goes in the API, and the body that says the rest of it."""
    from datakit_ci.control import Approve, Pause, Rebuild, Resume
    from datakit_ci.dashboard.api.addresses import build_url, project_url, target_url
    from datakit_ci.state import BuildId

    verb = type(wanted).__name__.lower()
    if isinstance(wanted, Pause | Resume):
        return f"{project_url(wanted.project)}/{verb}", {}
    if isinstance(wanted.what, BuildId):
        return f"{build_url(wanted.what)}/{verb}", {}
    place = f"{target_url(wanted.what)}/{verb}"
    if isinstance(wanted, Approve):
        return place, {"commit": wanted.commit}
    if isinstance(wanted, Rebuild):
        return place, {"job": wanted.job, "only_failed": wanted.only_failed}
    return place, {"job": wanted.job}


def _ask_database(wanted: Command, how: How) -> None:
    git = how.git
    if how.connect is None and git is None:
        git = own_database()

    async def work(database: Database) -> None:
        from datakit_ci.asking import ask, leave
        from datakit_ci.errands import Answer, title_of

        if git is None:
            answer = await ask(database, wanted, how.timeout)
        else:
            await leave(database, wanted)
            answer = Answer(True, f"left for the next engine on {git}: {title_of(wanted)}")
        _tell(answer.is_done, answer.text, as_json=how.as_json)

    work_on(how.connect, git, work)


def _tell(is_done: bool, text: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"done": is_done, "text": text}))
    else:
        typer.echo(text if is_done else f"datakit-ci: {text}", err=not is_done)
    if not is_done:
        raise typer.Exit(1)


def _what(text: str) -> Target | BuildId:
    from datakit_ci.state import BuildId
    from datakit_ci.target import Target

    build = BuildId.parse(text.rpartition("/build/")[2].removeprefix("build/"))
    return Target.named(text) if build is None else build


def _user() -> str:
    """The name that commits of this person have, or the login name."""
    try:
        asked = subprocess.run(
            ["git", "config", "user.name"],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip() or getpass.getuser()
    except OSError:
        raise ConfigError("nobody knows your name; give --user NAME") from None
