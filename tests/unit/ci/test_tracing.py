"""What looking at a tree asks, and that nothing else gives an answer away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from datakit_ci import PlainTree, Tree
from datakit_ci.trace import Question, QuestionKind, Tracer
from datakit_core.errors import FileError, InvalidName

FILES = {"conf": "src", "src/a.py": "a", "src/deep/b.py": "b", "docs/x": "x"}


def traced(tracer: Tracer) -> Tree:
    tree = Tree.from_files(FILES)
    return Tree(tree.id, tree.reader, tracer.observe)


def q(text: str) -> Question:
    kind, _, path = text.partition(" ")
    return Question(QuestionKind(kind), path)


async def matches(tree: Tree, pattern: str) -> list[str]:
    return [path async for path in tree.glob(pattern)]


async def below(tree: Tree) -> object:
    source = await tree.subtree("src")
    return [await source.read("a.py"), await source.list("deep"), await matches(source, "*.py")]


async def deeper(tree: Tree) -> object:
    return await (await (await tree.subtree("src")).subtree("deep")).exists("b.py")


async def diff(tree: Tree) -> object:
    return await (await tree.subtree("src")).diff_from(await tree.subtree("docs"))


async def compare(tree: Tree) -> object:
    return await tree.subtree("src") == Tree.from_files({})


async def same(tree: Tree) -> object:
    one, two = await tree.subtree("src"), await tree.subtree("src")
    return one == two, repr(one), PlainTree(one, asyncio.run) == PlainTree(two, asyncio.run)


@pytest.mark.parametrize(
    ("look", "asked"),
    [
        (lambda tree: tree.read("conf"), ["file conf"]),
        (lambda tree: tree.read("none"), ["file none"]),
        (lambda tree: tree.read("src"), ["file src"]),
        (lambda tree: tree.exists("src/a.py"), ["kind src/a.py"]),
        (lambda tree: tree.list(), ["list "]),
        (lambda tree: tree.list("conf"), ["list conf"]),
        (lambda tree: tree.entry("src"), ["tree src"]),
        (lambda tree: matches(tree, "**/*.py"), ["glob **/*.py"]),
        (lambda tree: tree.subtree("src"), ["kind src"]),
        (lambda tree: tree.subtree("none"), ["kind none"]),
        (below, ["kind src", "file src/a.py", "list src/deep", "glob src/*.py"]),
        (deeper, ["kind src", "kind src/deep", "kind src/deep/b.py"]),
        (diff, ["tree src", "tree docs"]),
        (compare, ["tree src"]),
        (same, ["kind src"]),
    ],
)
async def test_looking_asks_a_question(
    look: Callable[[Tree], Awaitable[object]], asked: list[str]
) -> None:
    tracer = Tracer()
    try:
        await look(traced(tracer))
    except FileError:
        assert len(asked) == 1  # what is not there was looked for too
    assert set(tracer.questions or ()) == set(map(q, asked))


def test_the_id_and_the_hash_look_at_everything_and_the_shown_tree_at_nothing() -> None:
    tracer = Tracer()
    tree = traced(tracer)
    assert tree.id not in repr(tree)
    assert tree.id not in repr(PlainTree(tree, asyncio.run))
    assert f"{Tracer().questions}" == "()"
    for look in (hash, lambda tree: tree.id):
        tracer = Tracer()
        look(traced(tracer))
        assert tracer.questions == (q("tree "),)
    tracer = Tracer()
    assert repr(traced(tracer)) == "<Tree at ''>"
    assert tracer.questions == ()


async def test_a_pattern_below_a_directory_with_a_strange_name_means_that_directory() -> None:
    tree = Tree.from_files({"[ab]/x": "", "a/x": ""})
    tracer = Tracer()
    strange = await Tree(tree.id, tree.reader, tracer.observe).subtree("[ab]")
    assert await matches(strange, "*") == ["x"]
    assert q("glob [[]ab]/*") in (tracer.questions or ())
    assert await matches(tree, "[[]ab]/*") == ["[ab]/x"]


@pytest.mark.parametrize("path", ["/a", "a/", "../a", ".git/config"])
async def test_a_path_that_cannot_be_is_an_error_and_asks_nothing(path: str) -> None:
    tracer = Tracer()
    for look in (Tree.read, Tree.exists, Tree.list, Tree.subtree, Tree.entry):
        with pytest.raises(InvalidName):
            await look(traced(tracer), path)
    assert tracer.questions == ()


async def test_a_difference_names_what_was_added_removed_and_changed() -> None:
    old = Tree.from_files({"a": "1", "b/c": "1", "same/x": "", "was": "", "turned/x": ""})
    new = Tree.from_files({"a": "2", "b/d": "1", "same/x": "", "turned": ""})
    assert await new.diff_from(old) == ["a", "b/c", "b/d", "turned", "turned/x", "was"]
    assert await new.diff_from(new) == []


async def test_a_checkout_writes_and_looks_at_what_is_asked_for(tmp_path: Path) -> None:
    tracer = Tracer()
    made = await traced(tracer).checkout(tmp_path / "some" / "where", "src/deep", "conf", "conf")
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert files == {"conf", "src/deep/b.py"}
    assert tracer.questions == (q("tree src/deep"), q("tree conf"))
    everything = await traced(tracer).checkout(tmp_path / "all", "src", "")
    assert {str(path.relative_to(everything)) for path in everything.rglob("*.py")} == {
        "src/a.py",
        "src/deep/b.py",
    }
    with pytest.raises(FileExistsError):
        await traced(tracer).checkout(tmp_path / "all")
    with pytest.raises(FileError, match="none"):
        await traced(tracer).checkout(tmp_path / "new", "none")


def test_a_plain_tree_has_differences_and_checkouts_too(tmp_path: Path) -> None:
    tree = Tree.from_files(FILES)
    plain = PlainTree(tree, asyncio.run)
    assert plain.diff_from(plain.subtree("src")) == [
        *("a.py", "conf", "deep/b.py", "docs/x", "src/a.py", "src/deep/b.py")
    ]
    assert (plain.checkout(tmp_path / "out", "docs") / "docs/x").read_text() == "x"


def test_who_asks_too_much_has_looked_at_everything() -> None:
    tracer = Tracer(most=3)
    for number in (1, 2, 3, 3, 1):
        tracer.observe(q(f"file {number}"))
    assert tracer.questions == (q("file 1"), q("file 2"), q("file 3"))
    for number in range(10):
        tracer.observe(q(f"file {number}"))
    assert tracer.questions is None
