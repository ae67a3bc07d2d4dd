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
from datakit_core.store.applier import Applier, Durability
from datakit_core.store.requests import (
    Batch,
    Frames,
    Request,
    Value,
    decode_request,
    encode_answer,
    encode_batch,
)

__all__ = ["main"]

_RECEIVE = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """Carry out requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, path, durability = arguments
    with socket.socket(fileno=int(descriptor)) as channel:
        _serve(channel, Path(path), Durability(durability))
    return 0


def _serve(channel: socket.socket, path: Path, durability: Durability) -> None:
    parent = os.getppid()
    try:
        applier = Applier(path, durability)
    except DatakitError as error:
        for batch in _batches(channel, None):
            _send(channel, [error] * len(batch), 0)
        return
    try:
        for batch in _batches(channel, applier):
            start = time.perf_counter_ns()
            answers = applier.apply(batch)
            _send(channel, answers, time.perf_counter_ns() - start)
            applier.tend()
    finally:
        # An orphan leaves the journal to the next server's recovery, which waits for us.
        if os.getppid() == parent:
            applier.close()


def _send(
    channel: socket.socket, answers: Sequence[Value | DatakitError], nanoseconds: int
) -> None:
    pieces = [piece for answer in answers for piece in encode_answer(answer)]
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for them any more
        channel.sendall(b"".join((*encode_batch(Batch(len(answers), nanoseconds)), *pieces)))


def _batches(channel: socket.socket, applier: Applier | None) -> Iterator[list[Request]]:
    """The requests that have arrived, in groups: one, or all that came while we were busy.

    While none comes, ``applier`` does what is due.
    """
    frames = Frames()
    while True:
        while applier is not None and not select([channel], [], [], applier.due)[0]:
            applier.tend()
        try:
            data = channel.recv(_RECEIVE)
        except ConnectionResetError:
            return
        if not data:
            return
        batch = [decode_request(frame) for frame in frames.feed(data)]
        if batch:
            yield batch


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
