"""``deploy/Caddyfile``, run by a real Caddy in front of the real service.

What differs from production: ports of loopback, and an authority of Caddy's own in place of one in
the internet.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from datakit_ci.dashboard.visitor import Visitor
from tests.support.containers import free_ports
from tests.support.git import commit_file
from tests.support.service import PASSWORD, RunningService, running_service

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed"),
]

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
OPTIONS = "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
PIPELINE = """
from datakit_ci import Config, Project, everyone, shell

def jobs(target):
    return {"quick": shell("quick", "true")(target.source)}

config = Config(projects=[Project("me/app", jobs, can_read=everyone)])
"""


@dataclass(frozen=True, slots=True)
class Proxied:
    """What the proxy shows.

    Attributes:
        url: Its address, without a slash.
        root: The authority that has signed its certificate.
        service: What is behind it.
        repository: What is watched.
    """

    url: str
    root: Path
    service: RunningService
    repository: Path


def browser(root: Path) -> aiohttp.ClientSession:
    """One that trusts the authority ``root``; it takes what is compressed, as all do."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=root)),
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        headers={"Accept-Encoding": "gzip"},
    )


@asynccontextmanager
async def bridge(told: list[tuple[str, bytes]]) -> AsyncIterator[str]:
    """What notes events, their signatures and bodies, in place of the bridge; where it is."""

    async def take(request: web.Request) -> web.Response:
        told.append((request.headers["X-Hub-Signature-256"], await request.read()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/github-events", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def caddy(directory: Path, url: str, web_at: str, events_at: str) -> AsyncIterator[Path]:
    """Caddy with the configuration of production, but for places; its authority's file."""
    text = CADDYFILE.read_text()
    for old, new in (("127.0.0.1:8080", web_at), ("db:8081", events_at)):
        assert old in text
        text = text.replace(old, new)
    file = directory / "Caddyfile"
    file.write_text(OPTIONS + text)
    with (directory / "caddy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "caddy", "run", "--adapter", "caddyfile", "--config", file, stderr=log,
            env=os.environ | {"HOST": url, "HOME": str(directory), "XDG_DATA_HOME": str(directory)},
        )  # fmt: skip
    try:
        root = directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        await listening(url, process, directory / "caddy.log")
        yield root
    finally:
        process.terminate()
        await process.wait()


async def listening(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait until the proxy has its certificate, which it does not announce."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + 40
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        while True:
            said = await asyncio.to_thread(log.read_text)
            assert process.returncode is None, said
            assert time.monotonic() < end, said
            try:
                async with session.get(f"{url}/health"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    pipeline, repository = tmp_path / "pipeline.py", tmp_path / "app"
    pipeline.write_text(PIPELINE)
    commit_file(repository, "a", b"1")
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}"
    async with running_service(
        pipeline, repository, tmp_path / "db.git", "me/app", options=["--public-url", url]
    ) as service:
        web_at = service.dashboard.removeprefix("http://").rstrip("/")
        async with caddy(tmp_path, url, web_at, "127.0.0.1:1") as root:
            yield Proxied(url, root, service, repository)


async def test_events_come_through_one_by_one_and_are_not_held_back(proxied: Proxied) -> None:
    url = f"{proxied.url}/events"
    async with browser(proxied.root) as session, session.get(url) as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        for content in (b"2", b"3"):
            # The second is made only when the first has been told.
            commit = commit_file(proxied.repository, "a", content)
            await proxied.service.until_job("main", "quick", "success", at=commit)
            while b"me/app" not in (line := await events.content.readline()):
                assert line, "the stream has ended"


async def test_pages_come_compressed_and_the_first_administrator_gets_in(proxied: Proxied) -> None:
    async with browser(proxied.root) as session:
        assert proxied.service.setup.startswith(proxied.url)
        async with session.get(proxied.service.setup) as page:
            assert page.status == 200
            assert page.headers["Content-Encoding"] == "gzip"
        (cookie,) = session.cookie_jar
        assert cookie["secure"]
        assert cookie["httponly"]
        form = {"csrf": Visitor(cookie=cookie.value).csrf, "name": "ann", "password": PASSWORD}
        form |= {"again": PASSWORD, "token": proxied.service.setup.split("=")[-1]}
        headers = {"Origin": proxied.url}
        address = f"{proxied.url}/setup"
        async with session.post(address, data=form, headers=headers) as done:
            assert done.status == 200
            assert str(done.url).startswith(proxied.url)
            assert "ann" in await done.text()


async def test_events_of_github_reach_the_bridge_as_they_were_signed(tmp_path: Path) -> None:
    body = b'{"zen": "Half measures are as bad as nothing at all."}'
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}"
    told: list[tuple[str, bytes]] = []
    async with (
        bridge(told) as at,
        caddy(tmp_path, url, "127.0.0.1:1", at) as root,
        browser(root) as session,
        session.post(
            f"{url}/github-events", data=body, headers={"X-Hub-Signature-256": "sha256=00"}
        ) as done,
    ):
        assert done.status == 202
    assert told == [("sha256=00", body)]
