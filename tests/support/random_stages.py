"""Random stages over the whole of a tree's API, random trees, and random edits of them.

What a stage looks at depends on what it has seen: file contents are names of other paths.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from datakit_ci.stage import StageFailed
from datakit_ci.tree import Tree
from datakit_core.client.api import FileMode
from datakit_core.errors import FileError

__all__ = ["Files", "RandomStage", "edited", "random_files"]

Files = dict[str, tuple[FileMode, bytes]]
"""A tree's files by path."""

_NAMES = ("a", "b", "c", "d.py", "*")
_PATTERNS = ("*", "**", "**/*.py", "a/**", "?", "*/b", "[ab]/*", "a/b/*", "c*/**/a", "[*]", "a")
_MODES = (FileMode.NORMAL, FileMode.NORMAL, FileMode.EXECUTABLE, FileMode.LINK)
_STEPS = (
    *("read", "read", "read", "exists", "list", "glob", "walk", "entry", "subtree", "diff"),
    *("read_all", "same", "hash", "shown", "checkout", "stop", "fail", "give"),
)
_MOST = 25
"""Steps of one run."""


def _path(random: Random) -> str:
    return "/".join(random.choice(_NAMES) for _ in range(random.choice((1, 1, 2, 2, 3))))


def random_files(random: Random) -> Files:
    """A few files; their contents are paths."""
    files: Files = {}
    for _ in range(random.randrange(8)):
        _put(random, files)
    return files


def _put(random: Random, files: Files) -> None:
    path = _path(random)
    for other in list(files):
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            del files[other]
    files[path] = random.choice(_MODES), _path(random).encode()


def edited(random: Random, files: Files) -> Files:
    """``files`` with one edit, or two."""
    made = dict(files)
    for _ in range(random.choice((1, 1, 2))):
        if made and random.random() < 0.3:
            del made[random.choice(sorted(made))]
        elif made and random.random() < 0.6:
            path = random.choice(sorted(made))
            made[path] = made[path][0], _path(random).encode()
        else:
            _put(random, made)
    return made


class RandomStage:
    """A function of a tree: the same seed, the same function."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self._scratch = scratch
        random = Random(seed)
        self.inputs: tuple[str, ...] | None = None
        if random.random() < 0.3:
            self.inputs = tuple(sorted({_path(random) for _ in range(random.randrange(4))}))
        self._steps = [
            (random.choice(_STEPS), _path(random), random.choice(_PATTERNS), random.random())
            for _ in range(random.randrange(1, 9))
        ]

    async def __call__(self, tree: Tree) -> Tree:
        """Run it; what it returns depends on all that it saw, and on nothing else."""
        return await _Run(self._scratch).steps(tree, list(self._steps))


class _Run:
    """One run: what was seen so far decides what comes next."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._seen: list[object] = []
        self._at: list[Tree] = []

    async def steps(self, tree: Tree, steps: Sequence[tuple[str, str, str, float]]) -> Tree:
        self._at = [tree]
        left = list(steps)
        for _ in range(_MOST):
            if not left:
                break
            step, path, pattern, number = left.pop(0)
            chance = self._chance()
            if self._seen and number < 0.5:
                path = self._named() or path
            at = self._at[int(chance * len(self._at))]
            if step == "stop" and chance < 0.5:
                break
            if step == "give" and chance < 0.3:
                return at
            if step == "fail" and chance < 0.4:
                raise StageFailed(self._digest())
            try:
                self._seen.append(await self._step(step, at, path, pattern))
            except FileError as error:
                self._seen.append(type(error).__name__)
            if chance < 0.2:
                left.append((step, path, pattern, number))
        return Tree.from_files({"seen": repr(self._seen)})

    async def _step(self, step: str, at: Tree, path: str, pattern: str) -> object:
        match step:
            case "read":
                return (await at.read(path)).decode()
            case "exists":
                return await at.exists(path)
            case "list":
                return await at.list(path if len(path) > 1 else "")
            case "glob":
                return [found async for found in at.glob(pattern)]
            case "walk":
                return [found async for found in at.walk()]
            case "read_all":
                return [await at.read(found) async for found in at.glob(pattern)]
            case "checkout":
                return await self._checkout(at, path)
            case _:
                return await self._step_with_ids(step, at, path)

    async def _step_with_ids(self, step: str, at: Tree, path: str) -> object:
        match step:
            case "entry":
                return str(await at.entry(path))
            case "subtree":
                self._at.append(await at.subtree(path))
                return None
            case "diff":
                return await self._at[-1].diff_from(at)
            case "same":
                return self._at[-1] == at or at.id
            case "hash":
                return len({at, self._at[-1]})
            case "shown":
                return repr(at)
            case _:
                return None

    async def _checkout(self, at: Tree, path: str) -> object:
        place = self._scratch / "checkout"
        try:
            await at.checkout(place, path)
            found = sorted(place.rglob("*"))
            return [
                (str(each.relative_to(place)), each.is_symlink() or each.is_dir()) for each in found
            ] + [each.read_bytes() for each in found if each.is_file() and not each.is_symlink()]
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _named(self) -> str | None:
        """A path that was seen last, as the content of a file or in a list."""
        last = self._seen[-1]
        if isinstance(last, list) and last:
            last = last[-1]
        if isinstance(last, bytes):
            last = last.decode()
        return last if isinstance(last, str) and 0 < len(last) < 8 else None

    def _digest(self) -> str:
        return hashlib.sha256(repr(self._seen).encode()).hexdigest()[:8]

    def _chance(self) -> float:
        """A number from 0 to 1 that what was seen decides."""
        return int(self._digest(), 16) / (1 << 32)
