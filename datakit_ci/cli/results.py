"""``datakit-ci results``: what is recorded, at a server or in a repository."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from datakit_ci.cli.options import own_database
from datakit_ci.state import BuildState, Status
from datakit_core.cli.work import Connect, Git, Json, work_on
from datakit_core.client.api import Change, ChangeKind, Database

if TYPE_CHECKING:  # slow to import
    from datakit_ci.results import Comparison, Results

__all__ = ["commands"]

commands = typer.Typer(
    name="results",
    help="List, show, check out and compare what stages came to.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SIGNS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.MODIFIED: "*"}


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    """The newest results whose names begin so; none where the database cannot be asked."""
    found: list[str] = []

    async def work(results: Results) -> None:
        from datakit_ci.results import result_name

        found.extend(f"{stage.project}/{stage.stage}" for stage in await results.stages())
        if "@" in incomplete:
            found.extend(result_name(state.id) for state in await results.newest())

    try:
        _on(context.params.get("connect"), context.params.get("git"), work)
    except Exception:  # noqa: BLE001 - a completion has nobody to tell
        return []
    return [name for name in found if name.startswith(incomplete)]


Result: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RESULT",
        help="USER/REPO/STAGE, which is the newest, or a name as list shows it.",
        autocompletion=_complete,
    ),
]


@commands.command(name="list")
def list_results(
    project: Annotated[str, typer.Argument(help="Only of this project, USER/REPO.")] = "",
    stage: Annotated[str, typer.Argument(help="Only of this stage.")] = "",
    number: Annotated[
        int, typer.Option("--number", "-n", min=1, help="At most so many, newest first.")
    ] = 20,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """List results, newest first."""

    async def work(results: Results) -> None:
        from datakit_ci.results import result_name

        states = (await results.newest(project, stage))[:number]
        if as_json:
            for state in states:
                _print(json.dumps(_record(state)))
            return
        rows = [
            (result_name(state.id), state.status.value, _moment(state), _spent(state), state.reason)
            for state in states
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            _print("  ".join([*cells, row[4]]).rstrip())

    _on(connect, git, work)


@commands.command()
def show(
    result: Result,
    log: Annotated[bool, typer.Option("--log", help="Print the log, and nothing else.")] = False,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Show what is recorded of a result; the exit status is 1 if it failed."""

    async def work(results: Results) -> None:
        state = await results.find(result)
        if log:
            async for piece in results.stream_log(state.id):
                typer.get_binary_stream("stdout").write(piece)
        elif as_json:
            _print(json.dumps(_record(state)))
        else:
            for name, value in _record(state).items():
                if value not in ("", None):
                    _print(f"{name + ':':<12} {value}")
        if state.status is not Status.SUCCESS:
            raise typer.Exit(1)

    _on(connect, git, work)


@commands.command()
def checkout(
    result: Result,
    directory: Annotated[Path, typer.Argument(help="Made by this; or an empty one.")],
    connect: Connect = None,
    git: Git = None,
) -> None:
    """Write what a result made into a directory."""

    async def work(results: Results) -> None:
        state = await results.find(result)
        count = await results.check_out(state, directory)
        _print(f"{count} files in {directory}")

    _on(connect, git, work)


@commands.command()
def compare(
    old: Result,
    new: Result,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Compare two results: what they were given, what is recorded, logs and outputs.

    The exit status is 0 if both came to the same, and 1 if not.
    """

    async def work(results: Results) -> None:
        found = await results.compare(await results.find(old), await results.find(new))
        if as_json:
            _print(json.dumps(_comparison(found)))
        else:
            _show_comparison(found)
        if not found.same:
            raise typer.Exit(1)

    _on(connect, git, work)


def _on(connect: str | None, git: Path | None, work: Callable[[Results], Awaitable[None]]) -> None:
    """Read the results of the database that the options name; else of the checkout's own."""
    from datakit_ci.results import Results

    async def with_results(database: Database) -> None:
        await work(Results(database))

    if connect is None and git is None:
        git = own_database()
    work_on(connect, git, with_results)


def _record(state: BuildState) -> Mapping[str, object]:
    from datakit_ci.results import result_name

    return {
        "name": result_name(state.id),
        "status": state.status.value,
        "reason": state.reason,
        "finished": _moment(state),
        "took": _spent(state),
        "command": state.command,
        "exit": state.exit_status,
        "input": state.input,
        "output": state.output,
        "log": f"{state.log_size} bytes",
        "branch": state.id.branch,
        "directory": state.id.directory,
        **state.details,
    }


def _comparison(found: Comparison) -> Mapping[str, object]:
    def changes(found: Sequence[Change] | None) -> object:
        return found and [{"kind": each.kind.value, "path": each.path} for each in found]

    return {
        "same": found.same,
        "facts": {name: list(values) for name, values in found.facts.items()},
        "inputs": changes(found.inputs),
        "outputs": changes(found.outputs),
        "log": list(found.log),
    }


def _show_comparison(found: Comparison) -> None:
    for name, (before, after) in found.facts.items():
        _print(f"{name}: {before or '-'} -> {after or '-'}")
    if found.inputs is None:
        _print("inputs: one of them is no longer in the database")
    for title, changes in (("inputs", found.inputs or ()), ("outputs", found.outputs)):
        if changes:
            _print(f"{title}:")
        for change in changes:
            _print(f"  {_SIGNS[change.kind]} {change.path}")
    if found.log:
        _print("log:")
    for line in found.log:
        _print(f"  {line}")
    if found.same:
        _print("Both came to the same.")


def _moment(state: BuildState) -> str:
    return f"{state.finished:%Y-%m-%dT%H:%M:%SZ}" if state.finished else ""


def _spent(state: BuildState) -> str:
    from datakit_ci.meta import duration

    return duration(state.started, state.finished) if state.started and state.finished else ""


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command
