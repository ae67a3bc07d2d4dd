"""What ``replay.c`` does, where there is no C compiler; its header describes the script."""

from __future__ import annotations

import io
import socket
import struct
import sys
import time

_NUMBER = struct.Struct("<I")
_HEADER = struct.Struct("<IBH")


def main() -> None:
    """Replay the script on standard input at the server that the arguments name."""
    host, port, seconds = sys.argv[1:]
    script = io.BytesIO(sys.stdin.buffer.read())
    with socket.create_connection((host, int(port))) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        for message in _messages(script):
            server.sendall(message)
            while not (replies := _complete(buffer)):
                _receive(server, buffer)
            _check(message, replies[0])
        slots = [_messages(script) for _ in range(_number(script))]
        _replay(server, slots, float(seconds))


def _replay(server: socket.socket, slots: list[list[bytes]], seconds: float) -> None:
    buffer, at = bytearray(), [0] * len(slots)
    unsent = [slot[0] for slot in slots]
    answered, received, start = 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        server.sendall(b"".join(unsent))
        unsent.clear()
        while not (replies := _complete(buffer)):
            _receive(server, buffer)
        for reply in replies:
            tag = _HEADER.unpack_from(reply)[2]
            _check(slots[tag][at[tag]], reply)
            at[tag] = (at[tag] + 1) % len(slots[tag])
            unsent.append(slots[tag][at[tag]])
            received += len(reply)
        answered += len(replies)
    print(answered, elapsed, received)


def _number(script: io.BytesIO) -> int:
    (number,) = _NUMBER.unpack(script.read(4))
    assert isinstance(number, int)
    return number


def _messages(script: io.BytesIO) -> list[bytes]:
    """The messages of a list in the script."""
    found = []
    for _ in range(_number(script)):
        size = script.read(4)
        found.append(size + script.read(int.from_bytes(size, "little") - 4))
    return found


def _receive(server: socket.socket, buffer: bytearray) -> None:
    got = server.recv(1 << 20)
    if not got:
        raise SystemExit("replay: the server has closed the connection")
    buffer += got


def _complete(buffer: bytearray) -> list[bytes]:
    """Take the complete replies out of what was received."""
    replies, at = [], 0
    while len(buffer) - at >= _HEADER.size:
        end = at + _NUMBER.unpack_from(buffer, at)[0]
        if end > len(buffer):
            break
        replies.append(bytes(buffer[at:end]))
        at = end
    del buffer[:at]
    return replies


def _check(request: bytes, reply: bytes) -> None:
    if reply[4] != request[4] + 1:
        raise SystemExit(f"replay: type {request[4]} was answered with type {reply[4]}")


if __name__ == "__main__":
    main()
