"""The checkouts that are kept between builds: who gets one, and how many there are.

A checkout is in one place at a time, on the shelf or in the directory of one build, and moves by
being renamed: no two builds ever write to the same. What was with a build when the service was
killed is gone with that build's directory. Any number of threads may take and give at once:
what one of them has renamed is its own, and what has no number is nobody's.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["MANIFEST", "TREE", "Shelf"]

TREE, MANIFEST = "tree", "manifest"
"""What a kept checkout consists of, on the shelf and in a build's directory."""

_MOST = 8

_NOBODYS = "moving-"
"""Begins the names of what is being put on the shelf, or taken from it."""


class Shelf:
    """A directory of kept checkouts, which holds a bounded number of them."""

    def __init__(self, directory: Path, most: int = _MOST) -> None:
        """Keep at most ``most`` checkouts in ``directory``; made by :meth:`recover`."""
        self._directory = directory
        self._most = most
        self._numbers = itertools.count(1)
        self._choosing = threading.Lock()

    def recover(self) -> None:
        """Make the directory ready, and throw away what is not whole."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for place in list(self._directory.iterdir()):
            if not (
                _has_number(place) and (place / TREE).is_dir() and (place / MANIFEST).is_file()
            ):
                shutil.rmtree(place, ignore_errors=True)
        self._evict()
        numbers = [int(place.name.partition("-")[0]) for place in self._places()]
        self._numbers = itertools.count(max(numbers, default=0) + 1)

    def take(self, kind: str, build: Path) -> None:
        """Move the newest checkout of ``kind`` into the directory ``build``, if there is one."""
        with self._choosing:
            ours = [place for place in self._places() if place.name.partition("-")[2] == kind]
            claimed = [self._claim(place) for place in ours[-1:]]
        for place in claimed:
            with suppress(OSError):  # then the build writes a new one
                (place / TREE).rename(build / TREE)
                (place / MANIFEST).rename(build / MANIFEST)
            shutil.rmtree(place, ignore_errors=True)

    def give_back(self, kind: str, build: Path) -> None:
        """Keep the checkout of a build that has ended; the oldest ones make way."""
        if not ((build / TREE).is_dir() and (build / MANIFEST).is_file()):
            return
        name = f"{next(self._numbers):010}-{kind}"
        place = self._directory / f"{_NOBODYS}{name}"
        place.mkdir()
        try:
            (build / TREE).rename(place / TREE)
            (build / MANIFEST).rename(place / MANIFEST)
        except OSError:  # the build has taken away the right to move it
            shutil.rmtree(place, ignore_errors=True)
            return
        place.rename(self._directory / name)
        self._evict()

    def _places(self) -> list[Path]:
        """What is on the shelf, the oldest first."""
        return sorted(path for path in self._directory.iterdir() if _has_number(path))

    def _claim(self, place: Path) -> Path:
        """Take away a checkout's number; nobody else does that meanwhile."""
        return place.rename(self._directory / f"{_NOBODYS}{place.name}")

    def _evict(self) -> None:
        with self._choosing:
            places = self._places()
            claimed = [self._claim(place) for place in places[: max(0, len(places) - self._most)]]
        for place in claimed:
            shutil.rmtree(place, ignore_errors=True)


def _has_number(place: Path) -> bool:
    return place.name[:10].isdecimal()
