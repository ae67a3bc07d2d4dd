"""``datakit-ci rebuild``, ``cancel``, ``confirm``, ``approve``, ``pause``, ``resume``."""

from __future__ import annotations

import getpass
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from datakit_ci.cli.options import own_database
from datakit_core.cli.work import Connect, Git, Json, work_on
from datakit_core.errors import ConfigError, DatakitError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.control import Command
    from datakit_ci.state import BuildId
    from datakit_ci.target import Target
    from datakit_core.client.api import Database

__all__ = ["commands"]

commands = typer.Typer()

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
    as_json: Json = False,
) -> None:
    """Make results again: of a target, of one of its jobs, or of one build."""
    from datakit_ci.control import Rebuild

    _ask(
        lambda name: Rebuild(name, _what(what), job, only_failed=failed),
        (user, timeout, connect, git, as_json),
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
    as_json: Json = False,
) -> None:
    """Stop what runs or waits. It stays so until somebody rebuilds it."""
    from datakit_ci.control import Cancel

    _ask(lambda name: Cancel(name, _what(what), job), (user, timeout, connect, git, as_json))


@commands.command()
def confirm(
    what: What,
    job: Job = "",
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Let dangerous builds run, once, that wait for a person to say so."""
    from datakit_ci.control import Confirm

    _ask(lambda name: Confirm(name, _what(what), job), (user, timeout, connect, git, as_json))


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
        (user, timeout, connect, git, as_json),
    )


@commands.command()
def pause(
    project: ProjectId,
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Start nothing new in a project; what runs goes on."""
    from datakit_ci.control import Pause

    _ask(lambda name: Pause(name, project), (user, timeout, connect, git, as_json))


@commands.command()
def resume(
    project: ProjectId,
    *,
    user: User = "",
    timeout: Patience = 10.0,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """End a pause."""
    from datakit_ci.control import Resume

    _ask(lambda name: Resume(name, project), (user, timeout, connect, git, as_json))


def _ask(
    command: Callable[[str], Command],
    how: tuple[str, float, str | None, Path | None, bool],
) -> None:
    """Have a command carried out, and say what came of it; in a repository, leave it there."""
    user, timeout, url, git, as_json = how
    try:
        wanted = command(user or _user())
    except ConfigError:
        raise
    except DatakitError as error:
        raise ConfigError(str(error)) from error
    if url is None and git is None:
        git = own_database()

    async def work(database: Database) -> None:
        from datakit_ci.asking import ask, leave
        from datakit_ci.errands import Answer, title_of

        if git is None:
            answer = await ask(database, wanted, timeout)
        else:
            await leave(database, wanted)
            answer = Answer(True, f"left for the next engine on {git}: {title_of(wanted)}")
        _tell(answer.is_done, answer.text, as_json=as_json)

    work_on(url, git, work)


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
