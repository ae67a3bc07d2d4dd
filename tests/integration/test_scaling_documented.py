"""A newcomer who pastes what ``docs/scaling.md`` says has two workers with TLS."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from datakit_ci.target import Target
from datakit_core.client import connect
from datakit_core.errors import NotPermitted
from tests.support.farm import Program
from tests.support.git import commit_file

TEXT = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()

PIPELINE = b"""
from datakit_ci import Config, Project, shell

hello = shell("hello", "echo hello > said", outputs=["said"])
config = Config(projects=[Project("me/app", lambda target: {"hello": hello(target.source)})])
"""


def blocks() -> dict[str, str]:
    """What is to be pasted, by its last program; a worker by its name."""
    found: dict[str, str] = {}
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        name = re.search(r"--name (\w+)|^(dask|datakit-ci serve)|^(mkdir)", block, re.MULTILINE)
        assert name is not None, block
        found[name[1] or name[2] or name[3]] = block
    return found


class Terminals:
    """Programs that were pasted, each into a terminal of its own, in one directory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.socket = directory / "socket"
        self._stack = stack

    def paste(self, block: str, **replaced: str) -> Program:
        """Run the one program of a block, with other ports."""
        variables = dict(re.findall(r"^export (\w+)=(\S+)", block, re.MULTILINE))
        line = re.sub(r"^export .*", "", block, flags=re.MULTILINE).replace("\\\n", " ").strip()
        for old, new in replaced.items():
            line = line.replace(f":{old.removeprefix('port')}", f":{new}")
            line = line.replace(f"--port {old.removeprefix('port')}", f"--port {new}")
        program, *arguments = shlex.split(line)
        if program == "datakit-ci" and arguments[0] == "serve":
            arguments += ["--web-ui", "http://127.0.0.1:0"]
            arguments[arguments.index("--listen-9p") + 1] += f",unix://{self.socket}"
        module = {"datakit-ci": "datakit_ci"}.get(program, program)
        started = Program(module, *arguments, variables=variables, directory=self.directory)
        self._stack.callback(started.kill)
        return started


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    checkout = tmp_path / "checkout"
    commit_file(checkout, "pipeline.py", PIPELINE)
    subprocess.run(["bash", "-ec", blocks()["mkdir"]], cwd=checkout, check=True, timeout=30)
    with ExitStack() as stack:
        yield Terminals(checkout, stack)


async def test_what_is_pasted_runs_builds_on_two_workers(
    terminals: Terminals,
) -> None:
    pasted = blocks()
    scheduler = terminals.paste(pasted["dask"], port8786="0")
    port = scheduler.until(r"Scheduler at: +tls://127.0.0.1:(\d+)")
    service = terminals.paste(pasted["datakit-ci serve"], port8786=port, port5640="0")
    database = service.until(r"database +(tls://\S+)")
    place = re.sub(r"\?.*", "", database).rpartition(":")[2]
    for name in ("worker1", "worker2"):
        worker = terminals.paste(pasted[name], port8786=port, port5640=place)
        worker.until(f"worker {name} at tls://.* has 2 of cpu")

    tls = terminals.directory / "tls"
    known = f"cert={tls}/worker1.pem&key={tls}/worker1.key&ca={tls}/ca.pem"
    target = Target("me/app", "heads", "main")
    async with connect(f"tls://127.0.0.1:{place}?{known}") as client:
        assert await client.branches() == {}
        with pytest.raises(NotPermitted):
            async with client.transaction(target.status_branch):
                pass
    async with connect(f"unix://{terminals.socket}") as client:
        async for head in client.watch_head(target.status_branch):
            if head is None:
                continue
            tree = (await client.commit(head)).tree
            if await client.entry(tree, "job/hello/output") is None:
                continue
            output = await client.read(tree, "job/hello/output")
            assert b"failure" not in output, output
            if b'"status":"success"' in output:
                return
