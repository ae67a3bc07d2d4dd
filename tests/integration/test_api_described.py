"""The API is as its OpenAPI document says: schemathesis makes requests of it, and looks."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from aiohttp.test_utils import TestServer

from datakit_ci.archive import Dossier
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from tests.support.ci_scene import NOW, fill
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, everything

# What is asked for is there, so that more than "not found" is looked at; a cursor is opaque.
CONFIG = """
[parameters]
"path.user" = "acme"
"path.repo" = "shop"
"path.static" = "{static}"
"path.key" = "{key}"
"path.stage" = "unit"
"query.cursor" = ""
"query.at" = ""
"path.which" = "output"
"path.path" = "a.txt"

[[operations]]
include-path-regex = "/targets/"
[operations.parameters]
"path.kind" = "heads"
"path.name" = "main"
"""


async def test_the_api_is_as_it_is_described(tmp_path: Path) -> None:
    scene = fill(FakeEngine())
    build = await scene.engine.build(scene.failed)
    assert build is not None
    output = await scene.engine.database.import_tree({"a.txt": b"content"})
    scene.engine.record(Dossier(replace(build, output=output), scene.engine.database))
    accounts = TokenAccounts()
    accounts.add("good", "ann")
    access = Access(lambda: everything("ann"), accounts)
    app = create_app(scene.engine, now=lambda: NOW, access=access, controls=scene.engine)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(static=scene.failed.static, key=scene.failed.key))
    async with TestServer(app) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run",
            str(server.make_url("/api/v1/openapi.json")),
            "--phases", "coverage,fuzzing", "--max-examples", "3", "--max-time", "10",
            "--header", "Authorization: Bearer good", "--generation-deterministic", "--no-color",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert b"Selected: 28/28" in said
