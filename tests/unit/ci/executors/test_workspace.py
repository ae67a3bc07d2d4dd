"""Checkouts: modes and links, declared inputs, outputs by path and pattern, and no way out."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from datakit_ci.executors.adapters import Awaited, Finished, finish
from datakit_ci.executors.workspace import Checkout
from datakit_ci.memory import narrow
from datakit_core.errors import InvalidName
from datakit_core.store.objects import Entry, FileMode, TreeId
from tests.support.objects import MemoryObjects


def listing(directory: Path) -> dict[str, str]:
    """Every file below ``directory`` with its content, ``-> target`` for links."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(directory))] = path.read_text()
    return found


def checkout(files: dict[str, bytes | Entry], tmp_path: Path) -> Checkout:
    objects = MemoryObjects()
    made = Checkout(objects, objects.add(files), tmp_path / "tree")
    made.prepare()
    return made


def test_files_links_and_executable_bits_are_kept(tmp_path: Path) -> None:
    objects = MemoryObjects()
    tree = objects.add(
        {
            "a/b/file": b"data",
            "run": objects.file(b"#!/bin/sh\n", FileMode.EXECUTABLE),
            "link": objects.file(b"a/b/file", FileMode.LINK),
            "broken": objects.file(b"/no/where", FileMode.LINK),
        }
    )
    Checkout(objects, tree, tmp_path / "tree").prepare()
    assert listing(tmp_path / "tree") == {
        "a/b/file": "data",
        "broken": "-> /no/where",
        "link": "-> a/b/file",
        "run": "#!/bin/sh\n",
    }
    assert os.access(tmp_path / "tree/run", os.X_OK)
    assert not os.access(tmp_path / "tree/a/b/file", os.X_OK)


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "."])
def test_a_tree_with_a_dangerous_name_is_refused(name: str, tmp_path: Path) -> None:
    objects = MemoryObjects()
    inner = objects.directory({name: objects.file(b"evil")})
    tree = objects.directory({"sub": Entry(FileMode.DIRECTORY, inner)})
    with pytest.raises(InvalidName):
        Checkout(objects, tree, tmp_path / "tree").prepare()


def test_a_name_with_a_slash_does_not_lead_out(tmp_path: Path) -> None:
    objects = MemoryObjects()
    tree = objects.directory({"../evil": objects.file(b"evil")})
    with pytest.raises(InvalidName):
        Checkout(objects, tree, tmp_path / "tree").prepare()
    assert not (tmp_path / "evil").exists()


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    objects = MemoryObjects()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").symlink_to(outside)
    with pytest.raises(FileExistsError):
        Checkout(objects, objects.add({"file": b"evil"}), tmp_path / "tree").prepare()
    assert outside.read_text() == "untouched"


FILES: dict[str, bytes | Entry] = {
    "src/a.py": b"a",
    "src/deep/b.py": b"b",
    "docs/x": b"x",
    "top": b"t",
}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (None, {"src/a.py", "src/deep/b.py", "docs/x", "top"}),
        ([""], {"src/a.py", "src/deep/b.py", "docs/x", "top"}),
        (["src"], {"src/a.py", "src/deep/b.py"}),
        (["src/deep", "top"], {"src/deep/b.py", "top"}),
        (["src/deep", "src"], {"src/a.py", "src/deep/b.py"}),
        (["absent", "top/below", "src/absent"], set()),
        ([], set()),
    ],
)
def test_a_narrowed_tree_holds_only_declared_paths(
    paths: list[str] | None, expected: set[str], tmp_path: Path
) -> None:
    objects = MemoryObjects()
    source, tree = finish(narrow(Awaited(objects), objects.add(FILES), paths))
    Checkout(Finished(source), tree, tmp_path / "tree").prepare()
    assert set(listing(tmp_path / "tree")) == expected


def test_a_narrowed_tree_depends_only_on_what_is_in_it() -> None:
    assert narrowed(FILES, ["src"]) == narrowed({**FILES, "docs/x": b"changed"}, ["src"])
    assert narrowed({"a/x": b"", "b": b""}, ["a/y", "b"]) == narrowed({"b": b""}, ["a/y", "b"])


def narrowed(files: Mapping[str, bytes | Entry], paths: list[str]) -> TreeId:
    objects = MemoryObjects()
    return finish(narrow(Awaited(objects), objects.add(dict(files)), paths))[1]


def test_outputs_by_path_directory_and_pattern(tmp_path: Path) -> None:
    workspace = checkout(
        {"report.xml": b"r", "dist/a.whl": b"w", "dist/a.txt": b"t", "cov/x/y": b"y"}, tmp_path
    )
    missing = workspace.collect(["report.xml", "dist/*.whl", "cov"], tmp_path / "out")
    assert missing == []
    assert listing(tmp_path / "out") == {"report.xml": "r", "dist/a.whl": "w", "cov/x/y": "y"}


def test_outputs_may_overlap_and_be_collected_twice(tmp_path: Path) -> None:
    workspace = checkout({"dist/a.whl": b"w"}, tmp_path)
    assert workspace.collect(["dist/a.whl"], tmp_path / "reports") == []
    assert workspace.collect(["dist", "dist/*", "**/*.whl"], tmp_path / "out") == []
    assert listing(tmp_path / "out") == listing(tmp_path / "reports") == {"dist/a.whl": "w"}


def test_missing_outputs_are_named(tmp_path: Path) -> None:
    workspace = checkout({"a": b""}, tmp_path)
    (workspace.directory / "empty").mkdir()
    wanted = ["a", "b", "*.whl", "a/below", "empty"]
    assert workspace.collect(wanted, tmp_path / "out") == ["b", "*.whl", "a/below", "empty"]


def test_an_output_is_not_found_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    workspace = checkout({"a": b""}, tmp_path)
    (workspace.directory / "way").symlink_to(tmp_path / "secret")
    assert workspace.collect(["way/key"], tmp_path / "one") == ["way/key"]
    assert workspace.collect(["**/key"], tmp_path / "two") == ["**/key"]
    assert workspace.collect(["way"], tmp_path / "three") == []
    assert listing(tmp_path / "three") == {"way": f"-> {tmp_path}/secret"}


def test_a_socket_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = checkout({"a": b""}, tmp_path)
    monkeypatch.chdir(workspace.directory)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    assert workspace.collect(["socket"], tmp_path / "out") == ["socket"]
