"""Redaction: secrets become ``***`` in a stream of bytes, before anybody sees or stores them.

A secret is looked for in every form in which programs print one: as it is, percent-encoded as in
URLs, escaped as in JSON, and within base64 at each of the three places where its first byte can
stand in a group (RFC 4648, both alphabets). Each line of a secret of several lines is looked for
as well: a private key is seldom printed in one piece.

What is redacted are the bytes that belong to any form of any secret, overlaps included, so the
outcome does not depend on how the stream was cut. An automaton over all forms (Aho and Corasick,
1975) knows at each moment how many of the last bytes could still become a secret; only those are
held back.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias
from urllib.parse import quote

__all__ = ["MARK", "NO_SECRETS", "SHORTEST", "Redaction", "Redactor"]

MARK = b"***"
"""What stands for one or several secrets that touch each other."""

SHORTEST = 8
"""Bytes: anything shorter would be found, and redacted, where no secret was meant."""

_HEAD = (0, 2, 3)
"""In base64, the first character that depends on nothing before, by the place in the group."""

Range: TypeAlias = tuple[int, int]


class Redaction:
    """The secrets to look for, prepared; holds no state of any stream."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        """Prepare for ``secrets``: values by name; none may be shorter than ``SHORTEST``."""
        assert all(len(value) >= SHORTEST for value in secrets.values())
        self._names = {
            form: name for name, value in secrets.items() for form in sorted(_forms(value))
        }
        self.automaton = _Automaton(self._names)

    def __repr__(self) -> str:
        return f"<Redaction of {len(set(self._names.values()))} secrets>"

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._names)

    @property
    def reach(self) -> int:
        """The length of the longest form: of two pieces, so many bytes less one must overlap."""
        return self.automaton.longest

    def stream(self) -> Redactor:
        """A redactor for one stream."""
        return Redactor(self)

    def clean(self, data: bytes) -> bytes:
        """``data``, redacted as a whole."""
        redactor = self.stream()
        return redactor.feed(data) + redactor.finish()

    def text(self, text: str) -> str:
        """``text``, redacted as a whole."""
        if not self:
            return text
        return self.clean(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def named_in(self, data: bytes) -> str | None:
        """The name of a secret that is somewhere in ``data``; none if there is none."""
        return next((name for form, name in self._names.items() if form in data), None)

    def ranges(self, data: bytes) -> Iterator[Range]:
        """Where in ``data`` a form begins and ends, in no order; they may overlap."""
        for form in self._names:
            start = data.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = data.find(form, start + 1)


class Redactor:
    """One stream being redacted: :meth:`feed` it, then :meth:`finish`."""

    def __init__(self, redaction: Redaction) -> None:
        """Start at the beginning of a stream."""
        self._redaction = redaction
        self._held = b""
        self._state = 0
        self._covered = 0  # so many of the held bytes belong to a secret that began before them
        self._masking = False  # whether the last byte that was let go belonged to a secret

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns what is certain by now, redacted."""
        if not self._redaction or not data:
            return data
        buffer = self._held + data
        self._state, held = self._redaction.automaton.advance(self._state, data)
        return self._release(buffer, len(buffer) - held)

    def finish(self) -> bytes:
        """The rest, when nothing more will come."""
        self._state = 0
        return self._release(self._held, len(self._held))

    def _release(self, buffer: bytes, end: int) -> bytes:
        """Let go of what is before ``end``, and keep the rest."""
        found = sorted(self._redaction.ranges(buffer))
        if self._covered:
            found.insert(0, (0, self._covered))
        pieces: list[bytes] = []
        position, covered = 0, 0
        for start, stop in _merged(found):
            if start >= end:
                break
            pieces.append(buffer[position:start])
            if start > 0 or not self._masking:
                pieces.append(MARK)
            position, covered = min(stop, end), max(stop - end, 0)
        pieces.append(buffer[position:end])
        if end:
            self._masking = bool(position == end)
        self._held, self._covered = buffer[end:], covered
        return b"".join(pieces)


class _Automaton:
    """All forms as one trie, with a link from each node to its longest suffix that is one too."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._next: list[dict[int, int]] = [{}]
        self._depth = [0]
        for form in forms:
            self._add(form)
        self._suffix = [0] * len(self._next)
        self._link()
        self.longest = max(self._depth)

    def _add(self, form: bytes) -> None:
        node = 0
        for byte in form:
            if byte not in self._next[node]:
                self._next[node][byte] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[node] + 1)
            node = self._next[node][byte]

    def _link(self) -> None:
        """Breadth first: a suffix is shorter than what it is a suffix of."""
        queue = deque(self._next[0].values())
        while queue:
            node = queue.popleft()
            for byte, child in self._next[node].items():
                self._suffix[child] = self._step(self._suffix[node], byte)
                queue.append(child)

    def _step(self, node: int, byte: int) -> int:
        while node and byte not in self._next[node]:
            node = self._suffix[node]
        return self._next[node].get(byte, 0)

    def advance(self, node: int, data: bytes) -> tuple[int, int]:
        """Read ``data`` from ``node`` on.

        No node is deeper than the longest form, so of long data only the end counts.

        Returns:
            The node, and how many of the last bytes could still become a form: what is one
            already, and begins no longer one, does not count.
        """
        if len(data) > self.longest:
            node, data = 0, data[-self.longest :]
        for byte in data:
            node = self._step(node, byte)
        while node and not self._next[node]:
            node = self._suffix[node]
        return node, self._depth[node]


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Sorted ranges, with those that overlap or touch made one."""
    first, last = -1, -1
    for start, stop in ranges:
        if start > last:
            if last > first:
                yield first, last
            first, last = start, stop
        last = max(last, stop)
    if last > first:
        yield first, last


def _forms(secret: bytes) -> set[bytes]:
    """Every way in which ``secret`` may be printed."""
    lines = [line.strip() for line in secret.splitlines()]
    pieces = {secret, *(line for line in lines if len(line) >= SHORTEST)}
    return {form for piece in pieces for form in (piece, *_urls(piece), *_json(piece))} | {
        form for piece in pieces for form in _base64(piece)
    }


def _urls(secret: bytes) -> Iterator[bytes]:
    """Percent-encoded, as ``quote``, ``encodeURIComponent`` and forms do it (RFC 3986, 2.1)."""
    for safe in ("", "/", "!'()*"):
        encoded = quote(secret, safe=safe).encode()
        yield encoded
        yield encoded.replace(b"%20", b"+")
        yield _small_hex(encoded)


def _small_hex(encoded: bytes) -> bytes:
    first, *rest = encoded.split(b"%")
    return b"%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _json(secret: bytes) -> Iterator[bytes]:
    text = secret.decode(errors="replace")
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def _base64(secret: bytes) -> Iterator[bytes]:
    """The characters that depend on ``secret`` alone, at each place in a group of three bytes."""
    for place, head in enumerate(_HEAD):
        encoded = base64.b64encode(bytes(place) + secret)
        form = encoded[head : (place + len(secret)) * 8 // 6]
        yield form
        yield form.translate(bytes.maketrans(b"+/", b"-_"))


NO_SECRETS = Redaction({})
"""Redacts nothing."""
