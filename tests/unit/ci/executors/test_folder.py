"""What of the directory of a pipeline goes to workers, and what of it is read again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from datakit_ci.executors.dask.code import PipelineCode
from datakit_ci.executors.dask.folder import Item, look
from datakit_core.client.api import FileMode, ObjectId, TreeId
from datakit_core.errors import ConfigError
from tests.support.databases import BACK_ENDS
from tests.support.git import git

LONG_AGO = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline, a module, and a package with data."""
    folder = tmp_path / "ci"
    files = {"pipeline.py": "import words", "words.py": "", "tools/__init__.py": "", "tools/x": "x"}
    for name, text in files.items():
        write(folder / name, text)
    return folder


def write(path: Path, text: str = "", mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def names(folder: Path, known: Mapping[str, Item] = {}) -> list[str]:
    return sorted(look(folder / "pipeline.py", known)[0])


OWN = ["pipeline.py", "tools/__init__.py", "tools/x", "words.py"]


def test_modules_packages_and_data_go_along_with_their_modes(folder: Path) -> None:
    write(folder / "run", "#!/bin/sh", 0o755)
    (folder / "link").symlink_to("tools/x")
    (folder / "nowhere").symlink_to("nothing")
    odd = os.fsdecode(b"odd-\xff")
    write(folder / odd)
    items, read = look(folder / "pipeline.py", {})
    assert sorted(items) == sorted([*OWN, "run", "link", "nowhere", odd])
    assert items["run"].mode is FileMode.EXECUTABLE
    assert items["link"].mode is FileMode.LINK
    assert read["link"] == b"tools/x"
    assert read["tools/x"] == b"x"


def test_what_is_hidden_or_made_by_tools_stays(folder: Path) -> None:
    for name in (
        ".env",
        ".cache/x",
        "__pycache__/words.cpython-311.pyc",
        "tools/__pycache__/x.py",
        "old.pyc",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        "database.git/HEAD",
        "database.git/objects/x",
        "other/.git/HEAD",
        "other/x.py",
    ):
        write(folder / name)
    os.mkfifo(folder / "pipe")
    assert names(folder) == OWN


def test_in_a_repository_git_says_what_goes_along(folder: Path) -> None:
    git(folder, "init", "--quiet")
    write(folder / ".gitignore", "build\n*.log\n")
    write(folder / "build/x")
    write(folder / "a.log")
    write(folder / ".shown")
    write(folder / "database.git/HEAD")
    write(folder / "database.git/objects/x")
    write(folder / "kept.log")
    git(folder, "add", "--force", "kept.log", "words.py")
    write(folder / "gone.py")
    git(folder, "add", "gone.py")
    (folder / "gone.py").unlink()
    assert names(folder) == sorted([*OWN, ".gitignore", ".shown", "kept.log"])


def test_a_pipeline_that_git_ignores_lies_there_by_accident(folder: Path) -> None:
    git(folder.parent, "init", "--quiet")
    write(folder.parent / ".gitignore", "ci\n")
    assert names(folder) == OWN


def test_what_only_its_owner_may_read_stays_unless_git_has_it(folder: Path) -> None:
    write(folder / "token", "secret", 0o600)
    write(folder / "words.py", "", 0o600)
    assert names(folder) == OWN
    git(folder, "init", "--quiet")
    assert names(folder) == OWN
    git(folder, "add", "token")
    assert names(folder) == ["pipeline.py", "token", *OWN[1:]]


def test_a_link_that_leads_out_stands_for_what_is_there(folder: Path) -> None:
    write(folder.parent / "shared/deep/y.py", "y")
    (folder.parent / "shared/back").symlink_to(folder)
    (folder / "one.py").symlink_to("../shared/deep/y.py")
    (folder / "all").symlink_to("../shared")
    items, read = look(folder / "pipeline.py", {})
    assert sorted(items) == sorted([*OWN, "one.py", "all/deep/y.py"])
    assert items["one.py"].mode is FileMode.NORMAL
    assert read["one.py"] == read["all/deep/y.py"] == b"y"


def test_a_submodule_goes_along(folder: Path) -> None:
    write(folder.parent / "library/lib.py", "lib")
    git(folder.parent / "library", "init", "--quiet")
    git(folder.parent / "library", "add", ".")
    git(folder.parent / "library", "commit", "--quiet", "--message", "A library")
    git(folder, "init", "--quiet")
    source = str(folder.parent / "library")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", source, "lib")
    assert names(folder) == sorted([*OWN, ".gitmodules", "lib/lib.py"])


def test_only_what_changed_is_read_again(folder: Path) -> None:
    pipeline = folder / "pipeline.py"
    fresh, read = look(pipeline, {})
    assert sorted(read) == OWN
    assert not any(item.stamp for item in fresh.values()), "they may change without a sign"
    # As they are when some time has passed, which nobody can set.
    settled = {
        name: Item(each.mode, each.blob, stamp(folder / name)) for name, each in fresh.items()
    }
    again, read = look(pipeline, settled)
    assert (again, read) == (settled, {})
    before = (folder / "tools/x").stat()
    write(folder / "tools/x", "y")
    os.utime(folder / "tools/x", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "words.py").unlink()
    again, read = look(pipeline, settled)
    assert read == {"tools/x": b"y"}, "its size and time were put back"
    assert "words.py" not in again


def stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return (
        status.st_mode,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def test_too_much_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "model.bin").open("wb") as file:
        file.truncate(100 << 20)
    said = r"100 MiB lie there, .* at most 64 can be sent \(the largest file is model.bin\); give"
    with pytest.raises(ConfigError, match=said) as refused:
        look(folder / "pipeline.py", {})
    assert refused.value.where == str(folder)


def test_too_many_files_are_refused(folder: Path) -> None:
    for number in range(10_001):
        (folder / "tools" / str(number)).touch()
    with pytest.raises(ConfigError, match="more than 10000 files lie there"):
        look(folder / "pipeline.py", {})


def test_a_pipeline_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the pipeline: No such file"):
        look(tmp_path / "pipeline.py", {})


async def test_the_tree_changes_with_the_files_and_has_their_modes(
    folder: Path, tmp_path: Path
) -> None:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        code = PipelineCode(database, folder / "pipeline.py")
        first = await code.origin()
        assert await code.origin() == first
        tree, _, path = first.partition(":")
        assert path == "ci/pipeline.py"
        write(folder / "run", "#!/bin/sh", 0o755)
        (folder / "link").symlink_to("tools/x")
        second, _, _ = (await code.origin()).partition(":")
        assert second != tree
        entries = await database.tree(TreeId(ObjectId(second)))
        assert entries["run"].mode is FileMode.EXECUTABLE
        assert entries["link"].mode is FileMode.LINK
        assert await database.read(TreeId(ObjectId(second)), "tools/x") == b"x"
        (folder / "run").unlink()
        (folder / "link").unlink()
        assert await code.origin() == first


async def test_a_link_to_a_pipeline_brings_what_lies_beside_the_file_itself(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "here.py").symlink_to(folder / "pipeline.py")
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        direct = PipelineCode(database, folder / "pipeline.py")
        linked = PipelineCode(database, tmp_path / "here.py")
        assert await direct.origin() == await linked.origin()
