"""Edits: what differs between two trees, and which questions it concerns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random

import pytest

from datakit_ci.edits import Edit, Edits, compare
from datakit_ci.memory import narrow
from datakit_ci.question import Question, QuestionKind
from datakit_ci.trace import Asker
from datakit_core.client.api import Entry, FileMode, ObjectId, TreeId
from datakit_core.store.objects import EMPTY_TREE, NewObject, ObjectKind, encode_tree, new_object
from tests.support.memory_database import MemoryDatabase
from tests.support.random_stages import Files, edited, random_files

FILE, KIND, LIST, GLOB, TREE = (
    QuestionKind.FILE,
    QuestionKind.KIND,
    QuestionKind.LIST,
    QuestionKind.GLOB,
    QuestionKind.TREE,
)
BASE = {"src/a": b"1", "src/deep/b": b"1", "docs/c": b"1", "top": b"1"}


async def edit_of(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Edit:
    database = MemoryDatabase()
    before, after = [await database.import_tree(each) for each in (old, new)]
    made = await compare(database, before, after)
    assert made is not None
    return made


async def test_what_is_below_and_beside_a_changed_file_is_told_apart() -> None:
    edit = await edit_of(BASE, BASE | {"src/deep/b": b"2"})
    assert edit.touched == {"", "src", "src/deep", "src/deep/b"}
    assert edit.leaves(["docs", "top", "src/a", "src/deep/other", "absent"])
    for path in ("", "src", "src/deep", "src/deep/b"):
        assert not edit.leaves(["docs", path])


async def test_a_changed_content_concerns_no_list_and_no_pattern() -> None:
    edit = await edit_of(BASE, BASE | {"src/a": b"2"})
    assert edit.spares([Question(LIST, "src"), Question(GLOB, "**/*"), Question(KIND, "src/a")])
    assert edit.concerns(Question(FILE, "src/a"))
    assert edit.concerns(Question(TREE, "src"))


async def test_a_new_file_concerns_the_list_it_is_in_and_patterns_around_it() -> None:
    edit = await edit_of(BASE, BASE | {"src/deep/new": b"1"})
    assert edit.concerns(Question(LIST, "src/deep"))
    assert edit.concerns(Question(KIND, "src/deep/new"))
    assert edit.concerns(Question(GLOB, "src/**"))
    assert edit.spares([Question(LIST, "src"), Question(LIST, ""), Question(GLOB, "docs/*")])


async def test_all_below_a_new_directory_is_concerned() -> None:
    edit = await edit_of(BASE, BASE | {"lib/deep/x": b"1"})
    for kind in (FILE, KIND, LIST, TREE):
        assert edit.concerns(Question(kind, "lib/deep/x")), kind
    assert edit.concerns(Question(GLOB, "lib/deep/*"))
    assert not edit.leaves(["lib/deep"])


async def test_an_empty_directory_is_something() -> None:
    database = MemoryDatabase()
    made: NewObject = new_object(
        ObjectKind.TREE, encode_tree({"empty": Entry(FileMode.DIRECTORY, EMPTY_TREE)})
    )
    database.objects.add([made])
    edit = await compare(database, EMPTY_TREE, TreeId(made.id))
    assert edit is not None
    assert not edit.leaves(["empty"])


async def test_equal_trees_differ_in_nothing_and_are_not_read() -> None:
    tree = TreeId(ObjectId("1" * 40))
    edit = await compare(MemoryDatabase(), tree, tree)
    assert edit is not None
    assert edit.leaves([""])


async def test_an_edit_of_very_many_paths_is_not_worth_knowing() -> None:
    database = MemoryDatabase()
    old, new = [await database.import_tree(dict.fromkeys("abcde", each)) for each in (b"1", b"2")]
    assert await compare(database, old, new, most=5) is None
    assert await compare(database, old, new, most=6) is not None


def test_old_edits_are_forgotten_for_new_ones() -> None:
    edits, path = Edits(), frozenset(map(str, range(9_000)))
    trees = [TreeId(ObjectId(f"{number:040x}")) for number in range(4)]
    for old, new in itertools.pairwise(trees):
        edits.note(old, new, Edit(path, frozenset(), frozenset(), frozenset()))
        edits.note(old, new, Edit(path, frozenset(), frozenset(), frozenset()))
    assert edits.between(trees[0], trees[1]) is None
    assert edits.between(trees[1], trees[2]) is not None
    assert edits.between(trees[2], trees[3]) is not None
    assert edits.between(trees[3], trees[2]) is None


PATHS = ("", "a", "b", "c", "d.py", "a/b", "a/a", "b/c", "a/b/c", "c/d.py/a")
PATTERNS = ("*", "**", "**/*.py", "a/**", "a/b/*", "*/b", "c*/**/a", "a", "a/b/c")


@pytest.mark.parametrize("seed", range(4))
async def test_what_an_edit_spares_is_the_same_in_both_trees(seed: int) -> None:
    random = Random(seed)
    spared = 0
    for _ in range(300):
        old = random_files(random)
        database, new = MemoryDatabase(), edited(random, old)
        trees = [await _import(database, files) for files in (old, new)]
        edit = await compare(database, trees[0], trees[1])
        assert edit is not None
        askers = [Asker(database, tree) for tree in trees]
        questions = [Question(kind, path) for kind in (FILE, KIND, LIST, TREE) for path in PATHS]
        questions += [Question(GLOB, pattern) for pattern in PATTERNS]
        for question in questions:
            if not edit.concerns(question):
                spared += 1
                before, after = [await asker.answer(question) for asker in askers]
                assert before == after, (old, new, question)
        inputs = tuple(random.sample(PATHS, 2))
        if edit.leaves(inputs):
            before, after = [(await narrow(database, tree, inputs))[1] for tree in trees]
            assert before == after, (old, new, inputs)
    assert spared > 1_000


async def _import(database: MemoryDatabase, files: Files) -> TreeId:
    made: list[NewObject] = []
    entries: dict[str, Entry | bytes] = {}
    for path, (mode, content) in files.items():
        made.append(new_object(ObjectKind.BLOB, content))
        entries[path] = Entry(mode, made[-1].id)
    database.objects.add(made)
    return await database.import_tree(entries)
