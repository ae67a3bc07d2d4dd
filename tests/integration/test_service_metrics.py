"""Where the CI service serves its metrics: with a database of its own, and with a server's."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from datakit_ci.home import open_home
from datakit_ci.monitoring import Figures
from datakit_ci.settings import ServiceSettings
from datakit_ci.tally import Tally
from datakit_core.server import serve_store
from datakit_core.store import Store


@pytest.mark.parametrize("remote", [False, True])
async def test_a_service_serves_them_wherever_its_database_is(
    remote: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    socket = f"unix://{tmp_path}/socket"
    where = {"metadata_store": socket} if remote else {"listen_9p": ()}
    settings = ServiceSettings.checked(
        pipeline=tmp_path / "pipeline.py",
        database=tmp_path / "own.git",
        accounts=tmp_path / "accounts",
        work=tmp_path / "work",
        listen_prometheus="0",
        **where,
    )
    async with (
        Store.open(tmp_path / "db.git", create=True) as store,
        serve_store(store, [socket], maintenance=False),
        open_home(settings, [Figures(Tally())]),
    ):
        port = re.findall(r"serving metrics on \S*127\.0\.0\.1:(\d+)", caplog.text)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port[-1]))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    names = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    assert {"datakit_ci_jobs", "datakit_event_loop_lag_seconds", "python_info"} <= names
    assert ("datakit_9p_connections" in names) is not remote
