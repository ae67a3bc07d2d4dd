"""Edits: what differs between two trees, and whether who looked at some of it could tell.

A commit changes a few paths, and a pipeline has hundreds of stages. So both trees are compared
once, whatever the number of stages, and each of them is asked only whether it looks at one of these
paths. An edit never says that a question has its old answer when it may have another; it may be
wrong the other way round, which costs a look-up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

from datakit_ci.lookup import DirectoryReader, join_path
from datakit_ci.pattern import is_pattern
from datakit_ci.question import Question, QuestionKind
from datakit_core.client.api import Entry, FileMode, TreeId
from datakit_core.store.diff import changed_names

__all__ = ["Edit", "Edits", "compare"]

_MOST = 2_000
"""Paths of an edit; one that touches more is not worth knowing."""

_ALL = 20_000
"""Paths of all edits that are remembered."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What differs between two trees.

    Attributes:
        touched: The paths at which there are other entries, those of directories included; ``""``,
            the root, if there are any.
        rekinded: Those of them at which there was or is nothing, or something of another kind.
        relisted: These again, and the directories that they are in: other names, or other kinds.
        replaced: Those of them at which only one of the trees has a directory. What is below is not
            listed.
    """

    touched: frozenset[str]
    rekinded: frozenset[str]
    relisted: frozenset[str]
    replaced: frozenset[str]

    def leaves(self, paths: Collection[str]) -> bool:
        """Whether there is the same at all ``paths`` in both trees, as far as is known."""
        return not any(path in self.touched for path in paths) and not (
            self.replaced and any(map(self._is_below_replaced, paths))
        )

    def spares(self, questions: Iterable[Question]) -> bool:
        """Whether all ``questions`` have the same answers in both trees, as far as is known."""
        return not any(map(self.concerns, questions))

    def concerns(self, question: Question) -> bool:
        """Whether ``question`` may have another answer in the other tree."""
        path = question.path
        match question.kind:
            case QuestionKind.GLOB:
                return self._concerns_glob(path)
            case QuestionKind.KIND:
                return path in self.rekinded or self._is_below_replaced(path)
            case QuestionKind.LIST:
                return path in self.relisted or self._is_below_replaced(path)
            case QuestionKind.FILE | QuestionKind.STAT | QuestionKind.TREE:
                return self._touches(path)

    def _touches(self, path: str) -> bool:
        return path in self.touched or self._is_below_replaced(path)

    def _concerns_glob(self, pattern: str) -> bool:
        """Matches lie below the directories that the pattern begins with."""
        names = takewhile(lambda name: not is_pattern(name), pattern.split("/")[:-1])
        below = "/".join(names)
        return any(
            not below or path == below or _is_below(path, below) or _is_below(below, path)
            for path in self.rekinded
        )

    def _is_below_replaced(self, path: str) -> bool:
        return any(above in self.replaced for above in _above(path))


def _above(path: str) -> Iterator[str]:
    """The directories that ``path`` is in, and itself."""
    return accumulate(path.split("/"), join_path)


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")


async def compare(
    reader: DirectoryReader, old: TreeId, new: TreeId, most: int = _MOST
) -> Edit | None:
    """What differs between two trees; none if that is more than ``most`` paths.

    Directories with one id are not read.
    """
    touched: set[str] = set()
    rekinded: set[str] = set()
    replaced: set[str] = set()
    left = [("", old, new)] if old != new else []
    while left:
        directory, before, after = left.pop()
        touched.add(directory)
        for name, was, now in changed_names(await reader.tree(before), await reader.tree(after)):
            path = join_path(directory, name)
            if was is not None and now is not None and was.is_directory and now.is_directory:
                left.append((path, TreeId(was.id), TreeId(now.id)))
                continue
            touched.add(path)
            if _kind(was) != _kind(now):
                rekinded.add(path)
            if any(entry is not None and entry.is_directory for entry in (was, now)):
                replaced.add(path)
        if len(touched) + len(left) > most:
            return None
    relisted = rekinded.union(path.rpartition("/")[0] for path in rekinded)
    return Edit(frozenset(touched), frozenset(rekinded), frozenset(relisted), frozenset(replaced))


def _kind(entry: Entry | None) -> str:
    """As answers have it: whether a file is executable is no matter of kind."""
    if entry is None:
        return ""
    return "F" if entry.mode is FileMode.EXECUTABLE else entry.mode.letter


@dataclass(slots=True)
class Edits:
    """The edits that were worked out last; what is not there any more costs look-ups."""

    _known: OrderedDict[tuple[TreeId, TreeId], Edit] = field(default_factory=OrderedDict)
    _paths: int = 0

    def note(self, old: TreeId, new: TreeId, edit: Edit) -> None:
        """Remember that ``edit`` leads from ``old`` to ``new``."""
        self._forget(old, new)
        self._known[old, new] = edit
        self._paths += len(edit.touched) + 1
        while self._paths > _ALL:
            self._forget(*next(iter(self._known)))

    def between(self, old: TreeId, new: TreeId) -> Edit | None:
        """What leads from ``old`` to ``new``; none if that is not known."""
        return self._known.get((old, new))

    def _forget(self, old: TreeId, new: TreeId) -> None:
        edit = self._known.pop((old, new), None)
        if edit is not None:
            self._paths -= len(edit.touched) + 1
