"""Trees: reading, matching and making them, and what is never loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from datakit_ci import PlainTree, Tree
from datakit_ci.lookup import check_path
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import ClientError, InvalidName, IsDirectory, NoEntry, NotDirectory
from datakit_core.store.objects import EMPTY_TREE

FILES: Mapping[str, bytes | str] = {
    "README": "read me",
    "src/a.py": "a",
    "src/b.txt": "b",
    "src/deep/er/c.py": "c",
    "tests/t.py": b"\xff",
    ".hidden": "",
}


class Counting:
    """A reader that remembers which directories were read."""

    def __init__(self, tree: Tree) -> None:
        assert tree.reader is not None
        self._reader = tree.reader
        self.read: list[TreeId] = []

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        self.read.append(tree)
        return await self._reader.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        return await self._reader.blob(blob)


@pytest.fixture
def tree() -> Tree:
    return Tree.from_files(FILES)


async def matches(tree: Tree, pattern: str) -> list[str]:
    return [path async for path in tree.glob(pattern)]


def test_a_tree_made_of_files_has_the_id_that_git_gives_it() -> None:
    made = Tree.from_files({"a": "1\n", "b/c": "2\n"})
    # printf '1\n' > a; mkdir b; printf '2\n' > b/c; git add .; git write-tree
    assert made.id == "6cbce9b058adbda5bc3e17aaf445ff41e522dd60"
    assert Tree.from_files({}).id == EMPTY_TREE


def test_equal_files_make_equal_trees_in_any_order() -> None:
    assert Tree.from_files(dict(reversed(list(FILES.items())))) == Tree.from_files(FILES)


async def test_files_are_read_and_directories_listed(tree: Tree) -> None:
    assert await tree.read("src/a.py") == b"a"
    assert await tree.read("tests/t.py") == b"\xff"
    assert await tree.list() == [".hidden", "README", "src", "tests"]
    assert await tree.list("src") == ["a.py", "b.txt", "deep"]
    assert await tree.exists("src/deep")
    assert not await tree.exists("src/none/x")
    assert not await tree.exists("README/x")


async def test_entries_tell_kind_and_id(tree: Tree) -> None:
    root = await tree.entry("")
    assert root == Entry(FileMode.DIRECTORY, tree.id)
    file = await tree.entry("README")
    assert file is not None
    assert file.mode is FileMode.NORMAL


async def test_a_subtree_is_a_tree_of_its_own(tree: Tree) -> None:
    deep = await tree.subtree("src/deep")
    assert await deep.read("er/c.py") == b"c"
    assert deep == Tree.from_files({"er/c.py": "c"})


async def test_what_is_not_there_is_named(tree: Tree) -> None:
    with pytest.raises(NoEntry, match="No such file or directory: src/none"):
        await tree.read("src/none")
    with pytest.raises(IsDirectory, match="Is a directory: src"):
        await tree.read("src")
    with pytest.raises(NotDirectory, match="Is not a directory: README"):
        await tree.list("README")
    with pytest.raises(NoEntry, match="none"):
        await tree.subtree("none")


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*", [".hidden", "README"]),
        ("**", [".hidden", "README", "src/a.py", "src/b.txt", "src/deep/er/c.py", "tests/t.py"]),
        ("**/*.py", ["src/a.py", "src/deep/er/c.py", "tests/t.py"]),
        ("src/**", ["src/a.py", "src/b.txt", "src/deep/er/c.py"]),
        ("src/*.py", ["src/a.py"]),
        ("**/deep/**/*.py", ["src/deep/er/c.py"]),
        ("**/**/c.py", ["src/deep/er/c.py"]),
        ("[st]*/?.py", ["src/a.py", "tests/t.py"]),
        ("README", ["README"]),
        ("src", []),
        ("README/*", []),
        ("nothing/**", []),
    ],
)
async def test_patterns_match_files(tree: Tree, pattern: str, paths: list[str]) -> None:
    assert await matches(tree, pattern) == paths


async def test_walking_names_every_file(tree: Tree) -> None:
    assert [path async for path in tree.walk()] == sorted(FILES)


async def test_directories_that_cannot_match_are_not_read(tree: Tree) -> None:
    counting = Counting(tree)
    counted = Tree(tree.id, counting)
    assert await matches(counted, "src/*.py") == ["src/a.py"]
    source = await tree.entry("src")
    assert source is not None
    assert counting.read == [tree.id, source.id]


async def test_a_tree_in_the_engine_cannot_be_read(tree: Tree) -> None:
    with pytest.raises(ClientError, match="only inside a stage"):
        await Tree(tree.id).read("README")


@pytest.mark.parametrize(
    "path", ["/a", "a/", "a//b", "../a", "a/./b", "a\0b", ".git/config", "a/.GIT/x"]
)
def test_paths_that_lead_out_of_a_tree_are_refused(path: str) -> None:
    with pytest.raises(InvalidName, match="cannot be a path in a tree"):
        check_path(path)
    with pytest.raises(InvalidName):
        Tree.from_files({path: ""})


@pytest.mark.parametrize("files", [{"": "x"}, {"a": "x", "a/b": "y"}])
def test_files_that_cannot_be_are_refused(files: Mapping[str, str]) -> None:
    with pytest.raises(InvalidName):
        Tree.from_files(files)


def test_a_plain_tree_does_the_same_without_await(tree: Tree) -> None:
    plain = PlainTree(tree, asyncio.run)
    assert plain.id == tree.id
    assert plain.read("README") == b"read me"
    assert plain.list("src") == ["a.py", "b.txt", "deep"]
    assert plain.exists("src")
    assert plain.entry("none") is None
    assert list(plain.glob("src/*.py")) == ["src/a.py"]
    assert list(plain.walk()) == sorted(FILES)
    assert plain.subtree("src").read("a.py") == b"a"
