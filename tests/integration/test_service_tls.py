"""The service over TLS, as a process: its own certificate or a given one, cookies, and commands."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from tests.support.certificates import Authority
from tests.support.git import commit_file, git
from tests.support.service import RunningService, running_service, service_command

HTTPS = "https://127.0.0.1:0"

PIPELINE = """
from datakit_ci import Config, Project, shell
from datakit_ci.acl import everyone

def jobs(target):
    return {"quick": shell("quick", "true")(target.source)}

config = Config(projects=[Project("me/app", jobs, can_read=everyone)])
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.py"
    path.write_text(PIPELINE)
    commit_file(tmp_path / "app", "a", b"1")
    return path


@asynccontextmanager
async def serving(pipeline: Path, *options: str) -> AsyncIterator[RunningService]:
    directory = pipeline.parent
    async with running_service(
        pipeline, directory / "app", directory / "db.git", "me/app", web_ui=HTTPS, options=options
    ) as service:
        yield service


def head(pipeline: Path) -> str:
    return git(pipeline.parent / "app", "rev-parse", "HEAD")


async def get(url: str, trusted: Path) -> tuple[int, aiohttp.ClientResponse]:
    context = ssl.create_default_context(cafile=trusted)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as reply:
        await reply.read()
        return reply.status, reply


async def ask(server: str) -> tuple[int, str, str]:
    """``datakit-ci status`` at a service."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "datakit_ci", "status", "--server", server,
        stdout=PIPE, stderr=PIPE, env={k: v for k, v in os.environ.items() if "DATAKIT" not in k},
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_a_certificate_is_made_kept_and_known_by_what_is_printed(pipeline: Path) -> None:
    kept = pipeline.parent / "db.accounts" / "certificate.pem"
    printed = []
    for _ in range(2):
        async with serving(pipeline) as service:
            assert service.dashboard.startswith("https://127.0.0.1:")
            assert kept.stat().st_mode & 0o777 == 0o600
            printed.append(service.server.partition("?")[2])
            status, reply = await get(f"{service.dashboard}login", kept)
            assert status == 200
            assert reply.headers["Strict-Transport-Security"].startswith("max-age=31536000")
            cookies = SimpleCookie(reply.headers["Set-Cookie"])
            (name, cookie), *rest = cookies.items()
            port = service.dashboard.rstrip("/").rpartition(":")[2]
            assert (name, rest) == (f"__Host-datakit-{port}", [])
            assert cookie["secure"]
            assert cookie["httponly"]
            await service.until_job("main", "quick", "success", at=head(pipeline))
            code, out, _ = await ask(service.server)
            assert (code, "me/app/heads/main" in out) == (0, True)
    assert printed[0] == printed[1]


async def test_commands_speak_to_no_server_that_they_do_not_know(pipeline: Path) -> None:
    async with serving(pipeline) as service:
        url, _, query = service.server.partition("?")
        code, out, errors = await ask(url)
        assert (code, out, errors.count("\n")) == (2, "", 1)
        assert f"{url}?sha256=FINGERPRINT" in errors
        code, out, errors = await ask(f"{url}?sha256={'0' * 64}")
        assert (code, out, errors.count("\n")) == (2, "", 1)
        assert f"another certificate is there, {query.partition('=')[2]}" in errors


async def test_a_given_certificate_is_shown_and_trusted_by_its_authority(
    pipeline: Path, tmp_path: Path
) -> None:
    authority, other = (Authority(tmp_path, name) for name in ("authority", "other"))
    own = authority.identity("ci")
    own.key.chmod(0o600)
    async with serving(pipeline, "--tls-cert", str(own.cert), "--tls-key", str(own.key)) as service:
        assert service.server == ""
        status, _ = await get(f"{service.dashboard}login", authority.cert)
        assert status == 200
        await service.until_job("main", "quick", "success", at=head(pipeline))
        url = service.dashboard.rstrip("/")
        code, out, _ = await ask(f"{url}?ca={authority.cert}")
        assert (code, "me/app/heads/main" in out) == (0, True)
        code, _, errors = await ask(f"{url}?ca={other.cert}")
        assert (code, errors.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("https://127.0.0.1:1?sha256=00", "neither ?ca=FILE nor ?sha256=FINGERPRINT"),
        ("https://127.0.0.1:1?x=1", "neither"),
        ("https://127.0.0.1:1?ca=a&sha256=b", "neither"),
        ("http://127.0.0.1:1?ca=/etc/hosts", "of an https address"),
        ("https://127.0.0.1:1?ca=/nonexistent", "/nonexistent: No such file"),
        ("https://127.0.0.1:1?ca=/etc/hostname", "/etc/hostname:"),
    ],
)
async def test_what_is_no_way_to_know_a_server_is_refused(server: str, says: str) -> None:
    code, out, errors = await ask(server)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert says in errors


async def test_a_key_that_others_can_read_is_refused(pipeline: Path, tmp_path: Path) -> None:
    own = Authority(tmp_path, "authority").identity("ci")
    own.key.chmod(0o644)
    command = service_command(
        pipeline, tmp_path / "app", "me/app", "--git", str(tmp_path / "db.git"),
        "--tls-cert", str(own.cert), "--tls-key", str(own.key), web_ui=HTTPS,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"chmod 600" in errors.splitlines()[-1]
