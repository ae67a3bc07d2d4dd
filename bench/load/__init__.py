"""A client that costs little: prepared messages, replayed by a small C program.

What is measured must be the server. ``replay.c`` is compiled at the first use; on a machine
without a C compiler the same script is replayed by :mod:`bench.load.fallback`, whose figures are
those of Python on both sides.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Figures", "Script", "client", "replay"]

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Script:
    """Messages to send, with their sizes and tags.

    Attributes:
        preamble: Sent one by one before the time is taken.
        slots: What is sent in turn; each slot has one message under way at any time, and its
            number is the tag of all its messages.
    """

    preamble: Sequence[bytes]
    slots: Sequence[Sequence[bytes]]

    def __bytes__(self) -> bytes:
        """As ``replay.c`` reads it."""
        parts = [_number(len(self.preamble)), *self.preamble, _number(len(self.slots))]
        for slot in self.slots:
            parts += [_number(len(slot)), *slot]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a replay has seen.

    Attributes:
        answered: Messages that were answered.
        seconds: How long it took.
        received: Bytes of all replies.
    """

    answered: int
    seconds: float
    received: int


def client(directory: Path) -> list[str]:
    """The command of the client, compiled into ``directory`` if there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("no C compiler, so the client is in Python and limits the figures: install gcc")
        return [sys.executable, "-m", "bench.load.fallback"]
    program = directory / "replay"
    subprocess.run([compiler, "-O2", "-o", program, _HERE / "replay.c"], check=True)
    return [str(program)]


def replay(command: Sequence[str], port: int, script: Script, seconds: float) -> Figures:
    """Replay a script at a server on loopback for so long.

    Raises:
        CalledProcessError: A request failed; the program has said which.
    """
    done = subprocess.run(
        [*command, "127.0.0.1", str(port), str(seconds)],
        input=bytes(script),
        stdout=subprocess.PIPE,
        check=True,
    )
    answered, elapsed, received = done.stdout.split()
    return Figures(int(answered), float(elapsed), int(received))


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")
