"""Messages between the local executor and its child: one line each, and a round trip."""

from __future__ import annotations

import pytest

from datakit_ci.executors.protocol import Ending, Instruction, Verdict
from datakit_ci.spec import StageKind, StageSpec
from datakit_core.store.objects import EMPTY_TREE

INSTRUCTION = Instruction(
    repository="/some/database.git",
    pipeline="/some/pipeline.py",
    directory="/some/where",
    input=EMPTY_TREE,
    spec=StageSpec("unit", StageKind.SHELL, "two\nlines", "0" * 64, env=(("A", "ä"),)),
    environment={"PATH": "/bin"},
    grace=2.5,
)


def test_an_instruction_is_one_line_and_is_read_again() -> None:
    line = INSTRUCTION.encode()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert Instruction.decode(line) == INSTRUCTION


@pytest.mark.parametrize(
    "ending",
    [
        Ending(Verdict.PASSED, exit_status=0),
        Ending(Verdict.FAILED, "exited with status 1\nand more", 1),
        Ending(Verdict.LOST, "ValueError: a bug"),
    ],
)
def test_an_ending_is_one_line_and_is_read_again(ending: Ending) -> None:
    line = ending.encode()
    assert line.count(b"\n") == 1
    assert Ending.decode(line) == ending
