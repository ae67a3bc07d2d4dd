"""Notices to a real chat endpoint and mail server: only what breaks and what is fixed is told."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from datakit_ci.bridges.courier import BRANCH
from datakit_ci.bridges.telling import Telling
from datakit_ci.notice import Mail, Slack
from datakit_ci.secrets import Secret
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from datakit_core.client.local import LocalDatabase
from tests.support.certificates import Authority
from tests.support.ci_scene import NOW, commit
from tests.support.databases import open_store
from tests.support.fake_engine import FakeEngine
from tests.support.mailbox import MailServer, mail_server

MAIN = Target("acme/shop", "heads", "main")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(tmp_path / "db.git") as store:
        yield LocalDatabase(store)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


def standing(status: Status, head: CommitId | None = None) -> TargetState:
    jobs = (JobState("unit", status, "exited with status 1"), JobState("lint", Status.SUCCESS))
    return TargetState(MAIN, head or commit("one"), "Fix <it>", "Ann", updated=NOW, jobs=jobs)


@asynccontextmanager
async def telling(
    engine: FakeEngine, database: Database, notify: Sequence[Slack | Mail]
) -> AsyncIterator[None]:
    """Tell, once it is noted who is new."""
    running = Telling(engine, database, "https://ci/", notify, lambda _: 0.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.run())
        async for head in database.watch_head(BRANCH):
            if head is not None:
                break
        yield
        task.cancel()


async def noted(database: Database, status: str) -> None:
    """Wait until it is noted that this was told."""
    async for head in database.watch_head(BRANCH):
        if head is None:
            continue
        root = (await database.commit(head)).tree
        for name, entry in (await database.tree(root)).items():
            for file in await database.tree(entry.id):  # type: ignore[arg-type]  # a directory
                if status.encode() in await database.read(root, f"{name}/{file}"):
                    return


def by(server: MailServer, **options: Sequence[str]) -> Mail:
    given = {"to": ["team@example.org"], **options}
    return Mail(smtp=server.address, sender="ci@example.org", tls=False, **given)  # type: ignore[arg-type]


async def test_people_are_written_to_when_it_breaks_and_when_it_is_fixed(
    server: MailServer, database: Database
) -> None:
    engine = FakeEngine()
    engine.add(standing(Status.SUCCESS))
    async with telling(engine, database, [by(server)]):
        await engine.set_target(standing(Status.FAILURE))
        people, message = await server.got.get()
        assert people == ["team@example.org"]
        assert message["Subject"] == "[broken] acme/shop main"
        text = message.get_content()
        assert "unit: exited with status 1" in text
        assert "lint" not in text
        assert "https://ci/acme/shop/ref/heads/main" in text
        await noted(database, "failure")
        for still in (Status.RUNNING, Status.ERROR, Status.CANCELLED):
            await engine.set_target(standing(still, commit("two")))
        await engine.set_target(standing(Status.SUCCESS, commit("two")))
        _, message = await server.got.get()
        assert message["Subject"] == "[fixed] acme/shop main"
    assert server.got.empty()


async def test_after_a_restart_nothing_is_repeated_and_nothing_forgotten(
    server: MailServer, database: Database
) -> None:
    engine = FakeEngine()
    async with telling(engine, database, [by(server)]):
        await engine.set_target(standing(Status.FAILURE))
        await server.got.get()
        await noted(database, "failure")
    engine = FakeEngine()
    engine.add(standing(Status.FAILURE, commit("two")))
    async with telling(engine, database, [by(server)]):
        await engine.set_target(standing(Status.SUCCESS, commit("two")))
        assert (await server.got.get())[1]["Subject"] == "[fixed] acme/shop main"
    assert server.got.empty()


async def test_a_mail_that_is_put_off_comes_once_and_one_that_is_refused_is_given_up(
    server: MailServer, database: Database
) -> None:
    server.answers = [b"451 later\r\n", b"421 busy\r\n"]
    engine = FakeEngine()
    async with telling(engine, database, [by(server)]):
        await engine.set_target(standing(Status.FAILURE))
        await server.got.get()
        await noted(database, "failure")
        server.answers = [b"550 never\r\n"] * 5
        await engine.set_target(standing(Status.SUCCESS))
        await noted(database, "success")
    assert server.got.empty()
    assert not server.answers


async def test_a_server_that_was_away_is_told_once_when_it_is_back(
    server: MailServer, database: Database
) -> None:
    server.away = 3
    engine = FakeEngine()
    async with telling(engine, database, [by(server)]):
        await engine.set_target(standing(Status.FAILURE))
        assert (await server.got.get())[1]["Subject"] == "[broken] acme/shop main"
        await noted(database, "failure")
    assert server.away == 0
    assert server.got.empty()


@pytest.fixture
def strict(server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailServer:
    """A server that asks for encryption and a password, of an authority that we trust."""
    authority = Authority(tmp_path, "authority")
    own = authority.identity("mail")
    server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.tls.load_cert_chain(own.cert, own.key)
    server.login = ("ci", "correct horse")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    monkeypatch.setenv("MAIL_PASSWORD", "correct horse")
    return server


def encrypted(server: MailServer) -> Mail:
    """Mail as the documentation shows it."""
    return Mail(
        ["team@example.org"], server.address, sender="ci@example.org", user="ci",
        password=Secret.env("MAIL_PASSWORD"),
    )  # fmt: skip


async def test_mail_is_encrypted_before_anything_is_said_and_a_password_is_sent(
    strict: MailServer, database: Database
) -> None:
    engine = FakeEngine()
    async with telling(engine, database, [encrypted(strict)]):
        await engine.set_target(standing(Status.FAILURE))
        people, message = await strict.got.get()
    assert (people, message["Subject"]) == (["team@example.org"], "[broken] acme/shop main")
    assert strict.in_clear
    assert all(line.startswith(b"ehlo ") for line in strict.in_clear)


async def test_with_a_wrong_password_news_wait_for_the_right_one(
    strict: MailServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "wrong horse")
    engine = FakeEngine()
    async with telling(engine, database, [encrypted(strict)]):
        await engine.set_target(standing(Status.FAILURE))
        for _ in range(6):  # more often than a message may be refused
            assert await strict.failed.get() == "login"
    assert strict.got.empty()
    monkeypatch.setenv("MAIL_PASSWORD", "correct horse")
    async with telling(engine, database, [encrypted(strict)]):
        assert (await strict.got.get())[1]["Subject"] == "[broken] acme/shop main"


async def test_a_server_that_nobody_vouches_for_is_told_nothing(
    strict: MailServer, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "stranger").cert))
    engine = FakeEngine()
    async with telling(engine, database, [encrypted(strict)]):
        await engine.set_target(standing(Status.FAILURE))
        assert await strict.failed.get() == "tls"
    assert strict.got.empty()
    assert all(line.startswith(b"ehlo ") for line in strict.in_clear)


async def test_an_author_is_told_of_a_branch_whose_address_is_one_of_ours(
    server: MailServer, database: Database
) -> None:
    async with database.transaction("source") as transaction:
        await transaction.write("a", b"a")
        head = await transaction.commit("A change")
    author = (await database.commit(head)).author.email
    engine = FakeEngine()
    mail = by(server, to=["team@example.org"], authors=[f"*@{author.partition('@')[2]}"])
    async with telling(engine, database, [mail]):
        await engine.set_target(standing(Status.FAILURE, head))
        assert (await server.got.get())[0] == ["team@example.org", author]
        request = replace(standing(Status.FAILURE, head), target=Target("acme/shop", "pr", "7"))
        await engine.set_target(request)
        assert (await server.got.get())[0] == ["team@example.org"]


async def test_a_chat_gets_a_line_in_which_nothing_of_ours_is_a_link_or_a_mention(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="datakit_ci")
    got: asyncio.Queue[str] = asyncio.Queue()
    answers = [500, 200]

    async def take(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        status = answers.pop(0)
        if status == 200:
            got.put_nowait(body["text"])
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/services/T0/secret-token", take)
    async with TestServer(app) as endpoint:
        address = tmp_path / "slack"
        address.touch(0o600)
        address.write_text(f"{endpoint.make_url('/services/T0/secret-token')}\n")
        engine = FakeEngine()
        slack = Slack(Secret.file(address), projects=["acme/shop"])
        async with telling(engine, database, [slack]):
            other = replace(standing(Status.FAILURE), target=Target("acme/other", "heads", "main"))
            await engine.set_target(other)
            job = JobState("unit", Status.FAILURE, "<!channel> & co")
            await engine.set_target(replace(standing(Status.FAILURE), jobs=(job,)))
            assert await got.get() == (
                "*broken*: <https://ci/acme/shop/ref/heads/main|acme/shop main>\n"
                "• unit: &lt;!channel&gt; &amp; co"
            )
    # Not all that was logged: the endpoint writes down what it was asked for.
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("datakit")]
    assert any("answered with status 500" in each for each in ours)
    assert not any("secret-token" in each for each in ours)
