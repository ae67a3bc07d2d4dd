"""Whether there is an engine, by a stand-in for its command."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from datakit_ci.containers import engine_is_there, watch_engine


async def test_an_engine_that_appears_or_goes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\ntest -e {flag}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    async with aclosing(watch_engine(every=0.001)) as news:
        assert await anext(news) is False
        flag.touch()
        assert await anext(news) is True
        flag.unlink()
        assert await anext(news) is False


async def test_without_the_command_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not await engine_is_there()
