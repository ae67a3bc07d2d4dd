"""The spool: logs of running builds, and what an engine finds that was killed before."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.spool import Spool
from datakit_ci.state import BuildId

BUILD = BuildId("me/app", "unit/3.11", "a" * 64, "b" * 64)
OTHER = BuildId("me/app", "unit/3.11", "a" * 64, "c" * 64)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.recover()
    return made


def write(spool: Spool, build: BuildId, text: bytes) -> Path:
    with spool.create(build, 1000) as log:
        log.write(text)
    return log.path


def test_a_log_is_a_file_with_a_name_that_people_can_read(spool: Spool) -> None:
    path = write(spool, BUILD, b"text")
    assert path.parent == spool.directory
    assert path.name == f"me_2fapp-unit_2f3.11-{'a' * 16}-{'b' * 16}.log"
    assert write(spool, OTHER, b"") != path


def test_what_was_left_behind_is_marked_and_readable(spool: Spool) -> None:
    write(spool, BUILD, b"half a line")
    assert spool.interrupted(BUILD) is None
    spool.recover()
    left = spool.interrupted(BUILD)
    assert left is not None
    assert left.read_text().startswith("half a line\n[datakit-ci] interrupted")
    assert spool.interrupted(OTHER) is None


def test_what_was_marked_before_is_removed(spool: Spool) -> None:
    write(spool, BUILD, b"text")
    spool.recover()
    spool.recover()
    assert list(spool.directory.iterdir()) == []


def test_a_new_run_replaces_an_interrupted_log(spool: Spool) -> None:
    write(spool, BUILD, b"old")
    spool.recover()
    path = write(spool, BUILD, b"new")
    assert spool.interrupted(BUILD) is None
    assert path.read_bytes() == b"new"


def test_a_removed_log_is_gone_and_may_be_removed_again(spool: Spool) -> None:
    path = write(spool, BUILD, b"text")
    spool.remove(BUILD)
    spool.remove(BUILD)
    assert not path.exists()


def test_the_limit_holds_for_each_log(spool: Spool) -> None:
    assert b"cut here" in write(spool, BUILD, b"x" * 2000).read_bytes()
