"""The child process that writes: ``python -m datakit_core.store.writer_process FD PATH HOW``.

``HOW`` is a :class:`~datakit_core.store.applier.Durability`.

It ends when the socket ``FD`` closes, and on nothing else: a Ctrl-C in the terminal reaches the
whole process group, and what was acknowledged-to-be must be finished first.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from select import select

from datakit_core.errors import DatakitError
from datakit_core.store.activity import JournalLength
from datakit_core.store.applier import Applier, Durability
from datakit_core.store.requests import (
    Batch,
    Frames,
    Request,
    Value,
    decode_request,
    encode_answer,
    encode_batch,
    encode_journal_length,
)

__all__ = ["main"]

_RECEIVE = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """Carry out requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, path, durability = arguments
    with socket.socket(fileno=int(descriptor)) as channel:
        _serve(_Channel(channel), Path(path), Durability(durability))
    return 0


def _serve(channel: _Channel, path: Path, durability: Durability) -> None:
    parent = os.getppid()
    try:
        applier = Applier(path, durability)
    except DatakitError as error:
        for batch in channel.batches(None):
            channel.answer([error] * len(batch), 0, JournalLength())
        return
    try:
        for batch in channel.batches(applier):
            start = time.perf_counter_ns()
            answers = applier.apply(batch)
            channel.answer(answers, time.perf_counter_ns() - start, applier.journal_length)
            channel.tend(applier)
    finally:
        # An orphan leaves the journal to the next server's recovery, which waits for us.
        if os.getppid() == parent:
            applier.close()


class _Channel:
    """Requests in, answers out."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._told = JournalLength()

    def batches(self, applier: Applier | None) -> Iterator[list[Request]]:
        """The requests that have arrived, in groups: one, or all that came while we were busy.

        While none comes, ``applier`` does what is due.
        """
        frames = Frames()
        while True:
            while applier is not None and not select([self._channel], [], [], applier.due)[0]:
                self.tend(applier)
            try:
                data = self._channel.recv(_RECEIVE)
            except ConnectionResetError:
                return
            if not data:
                return
            batch = [decode_request(frame) for frame in frames.feed(data)]
            if batch:
                yield batch

    def answer(
        self, answers: Sequence[Value | DatakitError], nanoseconds: int, journal: JournalLength
    ) -> None:
        """Send what became of a batch, and what it took."""
        pieces = [*encode_batch(Batch(len(answers), nanoseconds)), *self._news(journal)]
        self._send([*pieces, *(piece for answer in answers for piece in encode_answer(answer))])

    def tend(self, applier: Applier) -> None:
        """Let ``applier`` do what is due, and tell if its journal is shorter then."""
        applier.tend()
        self._send(self._news(applier.journal_length))

    def _news(self, journal: JournalLength) -> list[bytes]:
        if journal == self._told:
            return []
        self._told = journal
        return encode_journal_length(journal)

    def _send(self, pieces: Sequence[bytes]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for them any more
            self._channel.sendall(b"".join(pieces))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
