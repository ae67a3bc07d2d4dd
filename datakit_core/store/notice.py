"""Noticing refs that other Git processes move.

Two threads wait for the kernel's word on the directory of the refs and on ``packed-refs``; the
loop is told which branches may have changed and reads them again. A thread, and not a task, so
that waiting costs the loop nothing, and so that closing cannot leave a task behind.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from watchfiles import watch

from datakit_core.store.objects import CommitId
from datakit_core.store.refs import RefFiles

__all__ = ["RefNotices"]

_log = logging.getLogger(__name__)

_STEP = 10
"""Milliseconds without a further change after which changes are reported."""

_DEBOUNCE = 100
"""Milliseconds after which changes are reported although more keep coming."""

_AT_ONCE = 100
"""Changed files that the loop is told of at a time; it looks at each of them."""

_BREATH = 0.01
"""Seconds for which it does other things before it is told of more."""

_ASK_AGAIN = 0.1
"""Seconds after which a thread that waits for the loop looks whether it should end."""

_BEAT = 250
"""Milliseconds after which a fresh watch, if nothing happens, is known to be in place."""


class RefNotices:
    """Tells the loop about changes below ``refs`` and of ``packed-refs``."""

    def __init__(
        self,
        repository: Path,
        on_change: Callable[[set[Path]], None],
        on_heads: Callable[[Mapping[str, CommitId]], None],
    ) -> None:
        """Start nothing yet.

        Args:
            repository: The bare repository's directory.
            on_change: Called on the loop with paths below ``refs`` that may have changed.
            on_heads: Called on the loop with all heads found on disk when any may have changed;
                they were read a moment ago.
        """
        self._on_change, self._on_heads = on_change, on_heads
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._repository = repository
        self._packed_refs = repository / "packed-refs"
        self._threads = [
            threading.Thread(target=self._run, args=arguments, name="datakit-refs", daemon=True)
            for arguments in ((repository / "refs", True), (repository, False))
        ]

    def start(self) -> None:
        """Begin to watch; ``on_heads`` is called when the watch is in place."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Stop; no callback comes afterwards."""
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._loop = None

    def _run(self, directory: Path, recursive: bool) -> None:
        try:
            self._watch(directory, recursive=recursive, poll=None)
        except Exception:  # noqa: BLE001  # the boundary of a thread; polling is the remedy
            if self._stop.is_set():
                return
            _log.exception(
                "cannot be told of changes in %s, so it is polled; "
                "raising the sysctl fs.inotify.max_user_watches may help",
                directory,
            )
            self._watch(directory, recursive=recursive, poll=True)

    def _watch(self, directory: Path, *, recursive: bool, poll: bool | None) -> None:
        in_place = False
        for changes in watch(
            directory, watch_filter=None, step=_STEP, debounce=_DEBOUNCE, rust_timeout=_BEAT,
            yield_on_timeout=True, stop_event=self._stop, recursive=recursive, force_polling=poll,
        ):  # fmt: skip
            paths = {Path(path) for _, path in changes}
            if not in_place:
                # What changed before the watch was in place has been reported by nobody.
                in_place = True
                self._tell(self._on_heads, self._heads())
            if recursive:
                self._tell_of(paths)
            elif self._packed_refs in paths:
                self._tell(self._on_heads, self._heads())

    def _tell_of(self, paths: set[Path]) -> None:
        """Tell of changes, and let the loop do other things in between: there may be thousands.

        The next ones wait until the loop has looked at these, however busy it is; else they would
        pile up, and it would look at all of them in one turn.
        """
        rest = iter(paths)
        while some := set(islice(rest, _AT_ONCE)):
            done = threading.Event()
            self._tell(self._look, some, done)
            if len(some) == _AT_ONCE:
                while not done.wait(_ASK_AGAIN) and not self._stop.is_set():
                    pass
                self._stop.wait(_BREATH)

    def _look(self, paths: set[Path], done: threading.Event) -> None:
        try:
            self._on_change(paths)
        finally:
            done.set()

    def _heads(self) -> Mapping[str, CommitId]:
        return RefFiles(self._repository).heads()

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None and not self._stop.is_set():
            loop.call_soon_threadsafe(callback, *arguments)
