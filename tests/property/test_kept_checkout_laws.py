"""Whatever a build does to its checkout, the next one begins with exactly its own input."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.executors.kept import KeptCheckout
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.store.objects import ObjectKind, encode_tree, new_object

NAMES = ["a", "b", "c"]


class Objects:
    """A store in memory."""

    def __init__(self) -> None:
        self.trees: dict[TreeId, Mapping[str, Entry]] = {}
        self.blobs: dict[BlobId, bytes] = {}

    def add(self, files: Mapping[str, tuple[FileMode, bytes]]) -> TreeId:
        entries: dict[str, Entry] = {}
        below: dict[str, dict[str, tuple[FileMode, bytes]]] = {}
        for path, (mode, data) in files.items():
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = (mode, data)
            else:
                blob = BlobId(new_object(ObjectKind.BLOB, data).id)
                self.blobs[blob] = data
                entries[name] = Entry(mode, blob)
        for name, files_below in below.items():
            entries[name] = Entry(FileMode.DIRECTORY, self.add(files_below))
        tree = TreeId(new_object(ObjectKind.TREE, encode_tree(entries)).id)
        self.trees[tree] = entries
        return tree

    def tree(self, tree: TreeId, /) -> Mapping[str, Entry]:
        return self.trees[tree]

    def blob(self, blob: BlobId, /) -> bytes:
        return self.blobs[blob]


kinds = st.sampled_from([FileMode.NORMAL, FileMode.EXECUTABLE, FileMode.LINK])
contents = st.tuples(kinds, st.sampled_from([b"one", b"two", b"other"]))
top = st.dictionaries(st.sampled_from(NAMES), contents, max_size=3)
deep = st.dictionaries(st.sampled_from(["d/a", "d/b", "e/f/a"]), contents, max_size=3)
trees = st.builds(lambda one, two: {**one, **two}, top, deep)

paths = st.sampled_from([*NAMES, "d", "d/a", "d/b", "e", "e/f", "e/f/a", "new", "d/new"])
acts = st.lists(st.tuples(st.integers(0, 7), paths), max_size=6)


def vandalise(root: Path, act: int, path: str) -> None:
    """Something that a build might do; what it cannot do, it does not."""
    place = root / path
    try:
        match act:
            case 0:
                place.write_bytes(b"xxx")  # of the same size as what may be there
            case 1:
                place.unlink()
            case 2:
                place.mkdir(parents=True)
            case 3:
                place.chmod(0o700)
            case 4:
                place.rename(root / "moved")
            case 5:
                place.symlink_to(root.parent / "elsewhere")
            case 6:
                os.link(place, root / "linked", follow_symlinks=False)
                (root / "linked").write_bytes(b"yyy")
            case _:
                status = place.stat()
                place.write_bytes(b"zzz")
                os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        return


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    found: dict[str, tuple[int, bytes]] = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            data = b""
            if stat.S_ISLNK(mode):
                data = os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                data = path.read_bytes()
            found[str(path.relative_to(root))] = (mode, data)
    return found


@given(st.lists(st.tuples(trees, acts), min_size=1, max_size=4))
def test_a_kept_checkout_is_as_good_as_a_new_one(
    story: list[tuple[dict[str, tuple[FileMode, bytes]], list[tuple[int, str]]]],
) -> None:
    objects = Objects()
    with tempfile.TemporaryDirectory() as name:
        kept, manifest, elsewhere = (Path(name, each) for each in ("kept", "manifest", "elsewhere"))
        elsewhere.mkdir()  # where links lead, and the next build has no business
        (elsewhere / "a").write_bytes(b"not of the build")
        for number, (files, vandalism) in enumerate(story):
            tree = objects.add(files)
            before = snapshot(elsewhere)
            KeptCheckout(objects, tree, kept, manifest).prepare()
            assert snapshot(elsewhere) == before
            new = Path(name, f"new-{number}")
            KeptCheckout(objects, tree, new, Path(name, f"manifest-{number}")).prepare()
            assert snapshot(kept) == snapshot(new)
            assert {
                path for path, (mode, _) in snapshot(new).items() if not stat.S_ISDIR(mode)
            } == set(files)
            for act, path in vandalism:
                vandalise(kept, act, path)


@given(trees, trees)
def test_only_what_differs_is_written(
    one: dict[str, tuple[FileMode, bytes]], other: dict[str, tuple[FileMode, bytes]]
) -> None:
    objects = Objects()
    with tempfile.TemporaryDirectory() as name:
        place, manifest = Path(name, "kept"), Path(name, "manifest")
        KeptCheckout(objects, objects.add(one), place, manifest).prepare()
        second = KeptCheckout(objects, objects.add(other), place, manifest)
        second.prepare()
        assert second.written == len([path for path in other if one.get(path) != other[path]])
