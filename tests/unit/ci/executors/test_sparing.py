"""Outputs that are partly inputs: what is sent, and that the tree is the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from pathlib import Path

import pytest

from datakit_ci.executors.sparing import Sparing
from datakit_core.client.api import BlobId, Entry, TreeId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import InlineWriter, Store

FILES = {"a": b"alpha", "deep/b": b"beta" * 1000, "deep/er/c": b"", "d\udcff": b"delta"}


class Recording:
    """A database that notes which files it is sent."""

    def __init__(self, database: LocalDatabase) -> None:
        self.sent: set[str] = set()
        self._database = database

    async def import_directory(self, path: Path) -> TreeId:
        self.sent |= {each.relative_to(path).as_posix() for each in files_below(path)}
        return await self._database.import_directory(path)

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        return await self._database.import_tree(files)


def files_below(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_symlink() or each.is_file()]


def write(directory: Path) -> None:
    for name, data in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    (directory / "deep" / "b").chmod(0o755)
    (directory / "link").symlink_to("deep/b")


@pytest.mark.parametrize("known", [(), ("a", "deep/b"), ("link",), (*FILES, "link")])
async def test_only_what_is_new_is_sent_and_the_tree_is_the_same(
    tmp_path: Path, known: tuple[str, ...]
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    write(made)
    async with Store.open(tmp_path / "db.git", create=True, writer=InlineWriter) as store:
        database = LocalDatabase(store)
        whole = await database.import_directory(made)
        ids: dict[str, BlobId] = {}
        for name in (*FILES, "link"):
            entry = await database.entry(whole, name)
            assert entry is not None
            ids[name] = BlobId(entry.id)
        held: Set[BlobId] = {ids[name] for name in known}
        recording = Recording(database)
        assert await Sparing(recording, lambda: held, tmp_path).import_directory(made) == whole
        assert recording.sent == {*FILES, "link"} - set(known)
    assert sorted(os.listdir(tmp_path)) == ["db.git", "made"]  # noqa: PTH208 - a line
