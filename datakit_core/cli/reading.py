"""Commands that look at a database."""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, cast

import typer

from datakit_core.cli.work import (
    Branch,
    Connect,
    Git,
    InTree,
    Json,
    Source,
    commit_of,
    show,
    tree_of,
    work_on,
)
from datakit_core.client.api import (
    BlobId,
    ChangeKind,
    Commit,
    CommitId,
    Database,
    Entry,
    TreeId,
)
from datakit_core.errors import NoEntry

__all__ = ["commands"]

commands = typer.Typer()

_SIGNS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.MODIFIED: "*"}


@commands.command()
def branches(connect: Connect = None, git: Git = None, as_json: Json = False) -> None:
    """List the branches and their heads."""

    async def work(database: Database) -> None:
        for name, head in sorted((await database.branches()).items()):
            show({"name": name, "head": head}, f"{head} {name}", as_json=as_json)

    work_on(connect, git, work)


@commands.command()
def ls(
    source: Source,
    path: InTree = "",
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """List a directory: kind, id and name of everything in it."""

    async def work(database: Database) -> None:
        entry = await database.entry(await tree_of(database, source), path)
        if entry is None or not entry.is_directory:
            raise NoEntry(f"{source} has no directory {path}")
        for name, found in (await database.tree(TreeId(entry.id))).items():
            show({"name": name, **_entry(found)}, f"{found} {name}", as_json=as_json)

    work_on(connect, git, work)


@commands.command()
def cat(
    source: Source,
    path: InTree,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Print a file's content, however long; with --json, all of it is held in memory."""

    async def work(database: Database) -> None:
        tree = await tree_of(database, source)
        entry = await database.entry(tree, path)
        if entry is None or entry.is_directory:
            raise NoEntry(f"{source} has no file {path}")
        if as_json:
            show({**_entry(entry), **_content(await database.read(tree, path))}, "", as_json=True)
            return
        pieces = cast("AsyncGenerator[bytes, None]", database.stream_blob(BlobId(entry.id)))
        async with aclosing(pieces):
            async for piece in pieces:
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    work_on(connect, git, work)


@commands.command()
def log(
    source: Source,
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", min=1, help="At most so many.")
    ] = 20,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Show the newest commits: the first line of each message."""

    async def work(database: Database) -> None:
        history = database.history(await commit_of(database, source))
        left = number
        async for commit in history:
            show(_commit(commit), _line(commit), as_json=as_json)
            left -= 1
            if not left:
                return

    work_on(connect, git, work)


@commands.command()
def diff(
    old: Source,
    new: Source,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """List the files that differ: + added, - removed, * changed."""

    async def work(database: Database) -> None:
        trees = await tree_of(database, old), await tree_of(database, new)
        for change in await database.diff(*trees):
            sign = _SIGNS[change.kind]
            record = {"path": change.path, "change": change.kind.name.lower()}
            show(record, f"{sign} {change.path}", as_json=as_json)

    work_on(connect, git, work)


@commands.command()
def watch(
    branch: Branch,
    path: Annotated[
        str | None, typer.Argument(help="Only changes of this path; the root is an empty one.")
    ] = None,
    reconnect: Annotated[
        bool,
        typer.Option(
            "--reconnect", help="When the server goes, wait until it is back, and go on from there."
        ),
    ] = False,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Print the head now, and each newest head.

    This goes on until it is interrupted, or the server goes, which is exit status 2. With
    --reconnect it is told on standard error that the server has gone and come back, and a head is
    printed only if it is another one; heads in between may be skipped, as always.
    With a path: what is there, as kind and id, whenever that changes. Nothing there is an empty
    line.
    """

    async def work(database: Database) -> None:
        # Every back end has a generator, so that the watch ends before the connection does.
        heads = cast("AsyncGenerator[CommitId | None, None]", database.watch_head(branch))
        shown: Entry | str | None = ""
        async with aclosing(heads):
            async for head in heads:
                if path is None:
                    show({"head": head}, head or "", as_json=as_json)
                    continue
                entry = None if head is None else await _at(database, head, path)
                if entry != shown:
                    shown = entry
                    record = {"head": head, "entry": None if entry is None else _entry(entry)}
                    show(record, "" if entry is None else str(entry), as_json=as_json)

    work_on(connect, git, work, reconnect=reconnect)


async def _at(database: Database, head: CommitId, path: str) -> Entry | None:
    return await database.entry((await database.commit(head)).tree, path)


def _entry(entry: Entry) -> dict[str, str]:
    return {"kind": entry.mode.name.lower(), "id": entry.id}


def _content(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _commit(commit: Commit) -> dict[str, object]:
    return {
        "id": commit.id,
        "tree": commit.tree,
        "parents": list(commit.parents),
        "author": f"{commit.author.name} <{commit.author.email}>",
        "time": datetime.fromtimestamp(commit.committer.time, UTC).isoformat(),
        "message": commit.message,
    }


def _line(commit: Commit) -> str:
    when = datetime.fromtimestamp(commit.committer.time, UTC)
    first = commit.message.partition("\n")[0]
    return f"{commit.id} {when:%Y-%m-%d %H:%M:%S} {first}"
