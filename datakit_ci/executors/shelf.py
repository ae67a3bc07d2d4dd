"""The checkouts that are kept between builds: who gets one, and how many there are.

A checkout is in one place at a time, on the shelf or in the directory of one build, and moves by
being renamed: no two builds ever write to the same. What was with a build when the service was
killed is gone with that build's directory.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["MANIFEST", "TREE", "Shelf"]

TREE, MANIFEST = "tree", "manifest"
"""What a kept checkout consists of, on the shelf and in a build's directory."""

_MOST = 8


class Shelf:
    """A directory of kept checkouts, which holds a bounded number of them."""

    def __init__(self, directory: Path, most: int = _MOST) -> None:
        """Keep at most ``most`` checkouts in ``directory``; made by :meth:`recover`."""
        self._directory = directory
        self._most = most
        self._number = 0

    def recover(self) -> None:
        """Make the directory ready, and throw away what is not whole."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for place in self._places():
            if not ((place / TREE).is_dir() and (place / MANIFEST).is_file()):
                shutil.rmtree(place, ignore_errors=True)
        self._evict()
        numbers = [int(place.name.partition("-")[0]) for place in self._places()]
        self._number = max(numbers, default=0)

    def take(self, kind: str, build: Path) -> None:
        """Move the newest checkout of ``kind`` into the directory ``build``, if there is one."""
        for place in reversed(self._places()):
            if place.name.partition("-")[2] == kind:
                with suppress(OSError):  # then the build writes a new one
                    (place / TREE).rename(build / TREE)
                    (place / MANIFEST).rename(build / MANIFEST)
                shutil.rmtree(place, ignore_errors=True)
                return

    def give_back(self, kind: str, build: Path) -> None:
        """Keep the checkout of a build that has ended; the oldest ones make way."""
        if not ((build / TREE).is_dir() and (build / MANIFEST).is_file()):
            return
        self._number += 1
        place = self._directory / f"{self._number:010}-{kind}"
        place.mkdir()
        with suppress(OSError):  # the build has taken away the right to move it
            (build / TREE).rename(place / TREE)
            (build / MANIFEST).rename(place / MANIFEST)
        self._evict()

    def _places(self) -> list[Path]:
        """What is on the shelf, the oldest first."""
        return sorted(path for path in self._directory.iterdir() if path.name[:10].isdecimal())

    def _evict(self) -> None:
        places = self._places()
        for place in places[: max(0, len(places) - self._most)]:
            shutil.rmtree(place, ignore_errors=True)
