"""The metrics of a real server: true, documented, and to Prometheus' own taste."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from datakit_core.client import Database, connect
from datakit_core.dbfs import DatabaseFiles
from datakit_core.errors import ConfigError, MergeConflict, NotFastForward, UnknownObject
from datakit_core.metrics import Address
from datakit_core.monitoring import Sources, serve_metrics
from datakit_core.ninep import Server, serve
from datakit_core.store import BlobId, CommitId, ObjectId, Store
from datakit_core.store.maintenance import MaintenanceStatus
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("nonblocking")


DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


class Monitored:
    """A server with its page, and a client of it."""

    def __init__(self, page: Address, server: Server, database: Database) -> None:
        self.page = page
        self.server = server
        self.database = database

    async def figures(self) -> dict[str, float]:
        """Every sample by name and sorted labels."""
        _, body = await get(self.page)
        return {
            sample.name
            + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }


async def get(page: Address, request: str = "GET /metrics HTTP/1.1") -> tuple[str, str]:
    """Head and body of the reply to a request."""
    reader, writer = await asyncio.open_connection(page.host, page.port)
    writer.write(f"{request}\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, body


@asynccontextmanager
async def monitored(path: Path) -> AsyncIterator[Monitored]:
    """A server that its own client uses."""
    async with Store.open(path, create=True) as store:
        files = DatabaseFiles(store)
        async with serve(lambda _: files.connect(), "tcp://127.0.0.1:0") as server:
            sources = Sources(
                server, files, store, auto_push_lag=lambda: 1.5, maintenance=MaintenanceStatus()
            )
            async with (
                serve_metrics(sources, Address("127.0.0.1", 0)) as page,
                connect(str(server.endpoints[0])) as database,
            ):
                yield Monitored(page, server, database)


async def put(database: Database, path: str) -> CommitId:
    async with database.transaction("main") as transaction:
        await transaction.write(path, b"content")
        return await transaction.commit("")


async def test_requests_and_clients_are_counted(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        await put(it.database, "file")
        with pytest.raises(UnknownObject):
            await it.database.blob(BlobId(ObjectId("1" * 40)))
        async with connect(str(it.server.endpoints[0])):
            figures = await it.figures()
            assert figures["datakit_9p_connections"] == 2
        await until(lambda: it.server.connections == 1)
        figures = await it.figures()
    assert figures["datakit_9p_connections"] == 1
    assert figures["datakit_9p_connections_opened_total"] == 2
    assert figures["datakit_9p_requests_total outcome=ok type=Tattach"] == 2
    assert figures["datakit_9p_requests_total outcome=error type=Twalk"] == 1
    assert "datakit_9p_requests_total outcome=error type=Tattach" not in figures
    assert figures["datakit_9p_fids"] == 1, "the root; all others were clunked"
    assert figures["datakit_9p_request_seconds_count answered=by_task type=Twrite"] == 1
    assert figures["datakit_9p_request_seconds_count answered=at_once type=Tattach"] == 2
    assert figures["datakit_9p_received_bytes_total"] > 100
    assert figures["datakit_9p_sent_bytes_total"] > 100
    assert figures["datakit_auto_push_lag_seconds"] == 1.5


async def test_commits_count_by_what_became_of_them(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        first = await put(it.database, "a")
        async with (
            it.database.transaction("main") as merged,
            it.database.transaction("main") as conflicting,
            it.database.transaction("main") as overtaken,
        ):
            assert (await it.figures())["datakit_transactions"] == 3
            await merged.write("c", b"mine")
            await conflicting.write("b", b"mine")
            await overtaken.write("d", b"mine")
            await put(it.database, "b")
            await merged.commit("")
            with pytest.raises(MergeConflict):
                await conflicting.commit("")
            with pytest.raises(NotFastForward):
                await overtaken.commit_if(first, "")
        figures = await it.figures()
    counts = [figures[f"datakit_commits_total outcome={name}"]
              for name in ("moved", "merged", "conflict", "overtaken")]  # fmt: skip
    assert counts == [2, 1, 1, 1]
    assert figures["datakit_branches"] == 1
    assert figures["datakit_transactions"] == 0
    assert figures["datakit_write_requests_total"] >= 3
    assert (
        1
        <= figures["datakit_write_batch_seconds_count"]
        <= (figures["datakit_write_requests_total"])
    )


async def test_the_journal_is_measured_until_its_checkpoint(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        await put(it.database, "file")
        figures = await it.figures()
        while not figures["datakit_journal_records"]:  # it is told after the acknowledgement
            figures = await it.figures()
        assert figures["datakit_journal_bytes"] > 100
        await put(it.database, "other")
        more = await it.figures()
        while more["datakit_journal_records"] == figures["datakit_journal_records"]:
            more = await it.figures()
        assert more["datakit_journal_bytes"] > figures["datakit_journal_bytes"]
        while more["datakit_journal_records"]:  # for five seconds, until all is on disk
            more = await it.figures()
        assert more["datakit_journal_bytes"] == 0


async def test_watchers_count_while_they_wait(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        watch = it.database.watch_head("main")
        assert await anext(watch) is None

        async def news() -> CommitId | None:
            return await anext(watch)

        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(news())
            await until(lambda: it.server.waiting == 1)
            figures = await it.figures()
            assert figures["datakit_9p_requests_waiting"] == 1
            assert figures["datakit_watchers"] == 1
            waiting.cancel()
        await until(lambda: it.server.waiting == 0)
        figures = await it.figures()
    assert figures["datakit_9p_requests_total outcome=flushed type=Tread"] == 1
    assert figures["datakit_watchers"] == 0


async def test_a_blocked_event_loop_is_noticed(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        before = (await it.figures())["datakit_event_loop_lag_seconds_count"]
        time.sleep(0.5)  # noqa: ASYNC251 - what must not happen, so that it is seen
        figures = await it.figures()
        while figures["datakit_event_loop_lag_seconds_count"] == before:
            figures = await it.figures()
    soon = figures["datakit_event_loop_lag_seconds_bucket le=0.268435456"]
    assert figures["datakit_event_loop_lag_seconds_count"] - soon >= 1


async def test_two_servers_of_a_process_do_not_mix(tmp_path: Path) -> None:
    async with monitored(tmp_path / "a.git") as one, monitored(tmp_path / "b.git") as other:
        await put(one.database, "file")
        assert (await one.figures())["datakit_commits_total outcome=moved"] == 1
        assert (await other.figures())["datakit_commits_total outcome=moved"] == 0


async def test_every_metric_is_documented_and_nothing_else(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        await put(it.database, "file")
        _, body = await get(it.page)
    served = {
        name: kind
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", body, re.MULTILINE)
        if not name.startswith(("process_", "python_"))
    }
    rows = re.findall(
        r"^\| `(datakit_(?!ci_|github_)\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE
    )
    assert dict(rows) == served
    assert {"process_resident_memory_bytes", "python_info"} <= set(
        re.findall(r"^# TYPE (\w+)", body, re.MULTILINE)
    )


@pytest.mark.foreign
async def test_promtool_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    async with monitored(tmp_path / "db.git") as it:
        await put(it.database, "file")
        _, body = await get(it.page)
    done = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=body,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics?name=x HTTP/1.1", "200 OK"),
        ("HEAD /metrics HTTP/1.0", "200 OK"),
        ("GET /elsewhere HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("hello", "400 Bad Request"),
    ],
)
async def test_the_page_is_polite_to_any_client(
    request_line: str, status: str, tmp_path: Path
) -> None:
    async with monitored(tmp_path / "db.git") as it:
        head, body = await get(it.page, request_line)
        assert head.startswith(f"HTTP/1.1 {status}\r\n")
        length = re.search(r"Content-Length: (\d+)", head)
        assert length is not None
        if request_line.startswith("HEAD"):
            assert body == ""
            assert int(length[1]) > 1000
        else:
            assert len(body) == int(length[1])


async def test_clients_that_send_nothing_or_too_much_harm_nobody(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        silent = [await asyncio.open_connection(it.page.host, it.page.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection(it.page.host, it.page.port)
        writer.write(b"GET /" + b"x" * 100_000)
        assert await reader.read() == b""
        writer.close()
        assert (await get(it.page))[0].startswith("HTTP/1.1 200")
        for _, idle in silent[1:]:
            idle.close()
    assert await silent[0][0].read() == b"", "leaving ends who is still connected"
    silent[0][1].close()


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async with monitored(tmp_path / "db.git") as it:
        with pytest.raises(ConfigError, match=rf"cannot listen on .*:{it.page.port}: it is in use"):
            async with monitored_at(tmp_path / "other.git", it.page):
                raise AssertionError("it listens twice")


@asynccontextmanager
async def monitored_at(path: Path, page: Address) -> AsyncIterator[None]:
    """A server whose metrics are at ``page``."""
    async with Store.open(path, create=True) as store:
        files = DatabaseFiles(store)
        async with (
            serve(lambda _: files.connect(), "tcp://127.0.0.1:0") as server,
            serve_metrics(Sources(server, files, store), page),
        ):
            yield
