"""``datakit-ci results`` on a database with a few results, in a repository and at a server."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from datakit_ci.cache import Cache
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.results import Results, result_name
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.api import Entry, FileMode, ObjectId
from datakit_core.client.local import LocalDatabase
from datakit_core.errors import NoEntry
from datakit_core.store import BlobId
from tests.support.databases import open_store
from tests.support.results import NOW, record
from tests.support.served import Served, serve

COMMAND = [sys.executable, "-m", "datakit_ci", "results"]

PROJECT = "me/my-app"


def spec(name: str) -> StageSpec:
    return StageSpec(name=name, kind=StageKind.SHELL, fingerprint="f" * 64, command=f"make {name}")


async def fill(database: LocalDatabase, directory: Path) -> Sequence[BuildId]:
    """An old and a new result of a stage, and a failure of another."""
    cache, log = Cache(database), directory / "log"
    first = await database.import_tree({"a": b"1", "same": b"s"})
    second = await database.import_tree({"a": b"2", "same": b"s"})
    script = BlobId(ObjectId((await _entry(database)).id))
    made = await database.import_tree(
        {"out/x": Entry(FileMode.EXECUTABLE, script), "out/l": Entry(FileMode.LINK, script)}
    )
    other = await database.import_tree({"out/y": b"y"})
    log.write_bytes(b"one\ntwo\n")
    old = await record(cache, Build(PROJECT, spec("make-it"), first), Outcome(output=made), log)
    log.write_bytes(b"one\nthree\n")
    new = await record(
        cache,
        Build(PROJECT, spec("make-it"), second),
        Outcome(output=other),
        log,
        NOW + timedelta(seconds=5),
    )
    failure = Outcome(failure="exited with status 3", exit_status=3)
    failed = await record(cache, Build(PROJECT, spec("unit/slow"), first), failure, log)
    return old, new, failed


async def _entry(database: LocalDatabase) -> Entry:
    entry = await database.entry(await database.import_tree({"x": b"#!/bin/sh"}), "x")
    assert entry is not None
    return entry


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[Served, Sequence[BuildId]]]:
    async with serve(tmp_path / "db.git") as served:
        yield served, await fill(LocalDatabase(served.store), tmp_path)


async def results(tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command on a repository with results."""
    git = tmp_path / "db.git"
    if not git.exists():
        async with open_store(git) as store:
            await fill(LocalDatabase(store), tmp_path)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, "--git", str(git), stdout=PIPE, stderr=PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_results_are_listed_newest_first(tmp_path: Path) -> None:
    code, out, err = await results(tmp_path, "list")
    assert (code, err) == (0, "")
    newest, *others = [line.split()[0].split("@")[0] for line in out.splitlines()]
    assert newest == f"{PROJECT}/make-it"
    assert sorted(others) == [f"{PROJECT}/make-it", f"{PROJECT}/unit/slow"]
    code, out, _ = await results(tmp_path, "list", PROJECT, "unit/slow", "--json")
    (line,) = out.splitlines()
    assert json.loads(line)["reason"] == "exited with status 3"
    assert len((await results(tmp_path, "list", "-n", "1"))[1].splitlines()) == 1
    assert await results(tmp_path, "list", "no/body") == (0, "", "")


async def test_a_result_is_shown_and_says_how_it_ended(tmp_path: Path) -> None:
    code, out, _ = await results(tmp_path, "show", f"{PROJECT}/make-it")
    assert code == 0
    assert "make make-it" in out
    assert await results(tmp_path, "show", f"{PROJECT}/make-it", "--log") == (
        0,
        "one\nthree\n",
        "",
    )
    code, out, _ = await results(tmp_path, "show", f"{PROJECT}/unit/slow")
    assert code == 1
    assert "exited with status 3" in out


async def test_an_output_is_checked_out_into_an_empty_directory(tmp_path: Path) -> None:
    target = tmp_path / "out"
    names = (await results(tmp_path, "list", PROJECT, "make-it", "--json"))[1].splitlines()
    old = json.loads(names[1])["name"]
    code, out, _ = await results(tmp_path, "checkout", old, str(target))
    assert (code, out) == (0, f"2 files in {target}\n")
    assert (target / "out/x").stat().st_mode & 0o111
    assert (target / "out/l").is_symlink()
    code, _, err = await results(tmp_path, "checkout", old, str(target))
    assert code == 2
    assert "is not empty" in err
    failed = await results(tmp_path, "checkout", f"{PROJECT}/unit/slow", str(tmp_path / "no"))
    assert failed[0] == 1
    assert not (tmp_path / "no").exists()


async def test_results_are_compared(tmp_path: Path) -> None:
    names = (await results(tmp_path, "list", PROJECT, "make-it", "--json"))[1].splitlines()
    new, old = (json.loads(name)["name"] for name in names)
    code, out, _ = await results(tmp_path, "compare", old, new)
    assert code == 1
    for line in ("  * a", "  + out/y", "  - out/x", "  -two", "  +three"):
        assert line in out.splitlines()
    assert "same" not in out
    code, out, _ = await results(tmp_path, "compare", new, new, "--json")
    assert code == 0
    assert json.loads(out) == {"same": True, "facts": {}, "inputs": [], "outputs": [], "log": []}


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("nonsense", 2, "write USER/REPO/STAGE"),
        (f"{PROJECT}/nothing", 1, "there is no result"),
        (f"{PROJECT}/make-it@0000000/0000000", 1, "there is no result"),
    ],
)
async def test_a_name_of_no_result_is_refused(
    name: str, code: int, text: str, tmp_path: Path
) -> None:
    status, out, err = await results(tmp_path, "show", name)
    assert (status, out) == (code, "")
    assert text in err


async def test_every_name_of_a_result_finds_it(
    filled: tuple[Served, Sequence[BuildId]],
) -> None:
    served, (old, new, failed) = filled
    found = Results(LocalDatabase(served.store))
    assert (await found.find(f"{PROJECT}/make-it")).id == new
    for build in (old, new, failed):
        for name in (result_name(build), build.path, f"build/{build.path}"):
            assert (await found.find(name)).id == build
    assert (await found.find(f"{PROJECT}/make-it@{old.key[:12]}")).id == old
    with pytest.raises(NoEntry):
        await found.find(f"{PROJECT}/make-it@{failed.static[:7]}/{old.key[:7]}")


async def test_results_at_a_server(filled: tuple[Served, Sequence[BuildId]]) -> None:
    served, _ = filled
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "list", "--connect", served.address, stdout=PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert len(out.splitlines()) == 3
