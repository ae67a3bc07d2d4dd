"""The child process that writes: ``python -m datakit_core.store.writer_process FD PATH``.

It ends when the socket ``FD`` closes, and on nothing else: a Ctrl-C in the terminal reaches the
whole process group, and what was acknowledged-to-be must be finished first.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from datakit_core.errors import DatakitError
from datakit_core.store.requests import (
    Batch,
    Frames,
    Request,
    decode_request,
    encode_answer,
    encode_batch,
)
from datakit_core.store.writer import Applier

__all__ = ["main"]

_RECEIVE = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """Carry out requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, path = arguments
    with socket.socket(fileno=int(descriptor)) as channel:
        _serve(channel, Path(path))
    return 0


def _serve(channel: socket.socket, path: Path) -> None:
    applier: Applier | None = None
    refusal: DatakitError | None = None
    try:
        applier = Applier(path)
    except DatakitError as error:
        refusal = error
    for batch in _batches(channel):
        start = time.perf_counter_ns()
        answers = applier.apply(batch) if applier is not None else [refusal] * len(batch)
        done = Batch(len(batch), time.perf_counter_ns() - start)
        pieces = (piece for answer in answers for piece in encode_answer(answer))
        try:
            channel.sendall(b"".join((*encode_batch(done), *pieces)))
        except (BrokenPipeError, ConnectionResetError):
            return


def _batches(channel: socket.socket) -> Iterator[list[Request]]:
    """The requests that have arrived, in groups: one, or all that came while we were busy."""
    frames = Frames()
    while True:
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
