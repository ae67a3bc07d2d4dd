"""Attacks on the log: what clients send must not look like a line of it, nor steer a terminal."""

from __future__ import annotations

import contextlib
import logging

import pytest

from datakit_core.ninep.dialect import LINUX, UNIX, Dialect
from datakit_core.ninep.messages import Rattach, Tattach, Tversion
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid
from tests.support.raw import Raw, RawError, connect
from tests.support.scenarios import begin
from tests.support.served import Served
from tests.support.wire import RawClient

FORGED = "x\n2026-01-01 00:00:00 INFO    datakit: forged\r\x1b[2J\x07\x9b1m"


@pytest.mark.parametrize("dialect", [UNIX, LINUX], ids=lambda dialect: dialect.version)
async def test_what_a_client_sends_is_quoted_where_it_is_logged(
    served: Served, bystander: Raw, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="datakit_core")
    async with connect(served.port, dialect) as raw:
        with contextlib.suppress(RawError):
            await raw.call(Tattach(Fid(70), NO_FID, FORGED, FORGED), Rattach)
        place = await begin(raw, "master")
        for asked in (
            raw.walk([*place, FORGED]),
            raw.mkdir(["branch", FORGED]),
            raw.mkdir([*place, "rw", FORGED]),
            raw.command([*place, "ctl"], FORGED),
            raw.command("branch/master/fast-forward", FORGED),
            raw.wstat("branch/master", name=FORGED),
            raw.mkdir(["remotes", FORGED]),
            raw.mkdir(["remotes", "r"]),
            raw.write("remotes/r/url", f"https://{FORGED}".encode()),
            raw.command("remotes/r/fetch", FORGED),
            raw.walk(["debug", "src", FORGED]),
        ):
            with contextlib.suppress(RawError):
                await asked
    messages = [record.getMessage() for record in caplog.records]
    assert any("forged" in message for message in messages)  # at this level all is logged
    for message in messages:
        assert not [each for each in message if ord(each) < 32 or 127 <= ord(each) < 160], message


async def test_a_version_is_quoted_too(wire: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="datakit_core")
    wire.send(Tversion(8192, FORGED), NO_TAG)
    await wire.receive()
    assert not [record for record in caplog.records if "\n" in record.getMessage()]
