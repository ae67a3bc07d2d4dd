"""An overlay against the simplest model: a dict of files and a set of directories."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from datakit_core.errors import FileError
from datakit_core.store.objects import FileMode
from datakit_core.store.tree import Overlay
from tests.support.trees import MemoryObjects

NAMES = st.sampled_from(["a", "b", "c.d", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=6)
OFFSETS = st.integers(0, 8)
MODES = st.sampled_from([FileMode.NORMAL, FileMode.EXECUTABLE, FileMode.LINK])


class Model:
    """What an overlay promises, written down as plainly as possible."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[FileMode, bytes]] = {}
        self.directories: set[str] = {""}

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.directories

    def children(self, path: str) -> dict[str, FileMode]:
        prefix = f"{path}/" if path else ""
        found: dict[str, FileMode] = {}
        for below in [*self.files, *self.directories]:
            rest = below.removeprefix(prefix)
            if below and below.startswith(prefix) and "/" not in rest:
                is_file = below in self.files
                found[rest] = self.files[below][0] if is_file else FileMode.DIRECTORY
        return found

    def parent_is_there(self, path: str) -> bool:
        return path.rpartition("/")[0] in self.directories

    def can_make_parents(self, path: str) -> bool:
        parts = path.split("/")
        return not any("/".join(parts[:n]) in self.files for n in range(1, len(parts)))

    def make_parents(self, path: str) -> None:
        parts = path.split("/")
        self.directories.update("/".join(parts[:n]) for n in range(len(parts)))

    def drop(self, path: str) -> None:
        for known in [*self.files, *self.directories]:
            if known == path or known.startswith(f"{path}/"):
                self.files.pop(known, None)
                self.directories.discard(known)

    def move(self, old: str, new: str) -> None:
        self.drop(new)
        for known in [*self.files, *self.directories]:
            if known == old or known.startswith(f"{old}/"):
                moved = new + known[len(old) :]
                if known in self.files:
                    self.files[moved] = self.files.pop(known)
                else:
                    self.directories.discard(known)
                    self.directories.add(moved)


class OverlayMachine(RuleBasedStateMachine):
    """Random edits, on a random base; each must do or refuse what the model does or refuses."""

    @initialize(base=st.dictionaries(PATHS, st.sampled_from(["", "x", "yz"]), max_size=6))
    def begin(self, base: dict[str, str]) -> None:
        self.model = Model()
        for path, content in base.items():
            if self.model.can_make_parents(path) and not self.model.exists(path):
                self.model.make_parents(path)
                self.model.files[path] = (FileMode.NORMAL, content.encode())
        self.objects = MemoryObjects()
        files = {path: data.decode() for path, (_, data) in self.model.files.items()}
        self.overlay = Overlay(self.objects, self.objects.make(files))

    def attempt(self, allowed: bool, operation: str, *arguments: object) -> bool:
        """Try an edit; whether the model is to do it too."""
        try:
            getattr(self.overlay, operation)(*arguments)
        except FileError:
            assert not allowed, f"{operation}{arguments} was refused"
            return False
        assert allowed, f"{operation}{arguments} was not refused"
        return True

    @rule(path=PATHS, data=DATA, mode=MODES)
    def put(self, path: str, data: bytes, mode: FileMode) -> None:
        allowed = path not in self.model.directories and self.model.can_make_parents(path)
        if self.attempt(allowed, "put", path, data, mode):
            self.model.make_parents(path)
            self.model.files[path] = (mode, data)

    @rule(path=PATHS, offset=OFFSETS, data=DATA)
    def write(self, path: str, offset: int, data: bytes) -> None:
        model = self.model
        allowed = path not in model.directories and model.parent_is_there(path)
        if self.attempt(allowed, "write", path, offset, data):
            mode, old = model.files.get(path, (FileMode.NORMAL, b""))
            new = old.ljust(offset, b"\0")
            model.files[path] = (mode, new[:offset] + data + new[offset + len(data) :])

    @rule(path=PATHS, length=OFFSETS)
    def truncate(self, path: str, length: int) -> None:
        if self.attempt(path in self.model.files, "truncate", path, length):
            mode, old = self.model.files[path]
            self.model.files[path] = (mode, old[:length].ljust(length, b"\0"))

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        allowed = not self.model.exists(path) and self.model.parent_is_there(path)
        if self.attempt(allowed, "mkdir", path):
            self.model.directories.add(path)

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        if self.attempt(self.model.exists(path), "remove", path):
            self.model.drop(path)

    @rule(path=PATHS, name=NAMES)
    def rename(self, path: str, name: str) -> None:
        target = "/".join([*path.split("/")[:-1], name])
        full = target in self.model.directories and bool(self.model.children(target))
        allowed = self.model.exists(path) and (target == path or not full)
        if self.attempt(allowed, "rename", path, name) and target != path:
            self.model.move(path, target)

    @rule(path=PATHS, to=PATHS)
    def move(self, path: str, to: str) -> None:
        full = to in self.model.directories and bool(self.model.children(to))
        possible = not full and not to.startswith(f"{path}/") and self.model.parent_is_there(to)
        allowed = self.model.exists(path) and (to == path or possible)
        if self.attempt(allowed, "move", path, to) and to != path:
            self.model.move(path, to)

    @rule(path=PATHS, mode=MODES)
    def set_mode(self, path: str, mode: FileMode) -> None:
        if self.attempt(path in self.model.files, "set_mode", path, mode):
            self.model.files[path] = (mode, self.model.files[path][1])

    @rule(source=PATHS, path=PATHS)
    def graft_what_is_committed(self, source: str, path: str) -> None:
        tree, new = self.overlay.freeze()
        self.objects.add(new)
        entry = self.objects.entry(tree, source)
        if entry is None:
            return
        grafted = {
            path + known[len(source) :]: content
            for known, content in self.model.files.items()
            if known == source or known.startswith(f"{source}/")
        }
        if self.attempt(self.model.can_make_parents(path), "graft", path, entry):
            self.model.make_parents(path)
            self.model.drop(path)
            for file, content in grafted.items():
                self.model.make_parents(file)
                self.model.files[file] = content

    @rule()
    def commit_and_go_on(self) -> None:
        tree, new = self.overlay.freeze()
        self.objects.add(new)
        self.overlay = Overlay(self.objects, tree)
        self.model.directories = {""}
        for path in self.model.files:
            self.model.make_parents(path)

    @invariant()
    def the_overlay_looks_like_the_model(self) -> None:
        for path in self.model.directories:
            assert dict(self.overlay.list(path)) == self.model.children(path)
        for path, (mode, data) in self.model.files.items():
            assert self.overlay.mode(path) is mode
            assert self.overlay.read(path) == data
            assert self.overlay.size(path) == len(data)

    @invariant()
    def freezing_keeps_exactly_the_files(self) -> None:
        tree, new = self.overlay.freeze()
        self.objects.add(new)
        frozen = {
            path: (self.objects.entry(tree, path), content.encode(errors="surrogateescape"))
            for path, content in self.objects.texts(tree).items()
        }
        assert {path: data for path, (_, data) in frozen.items()} == {
            path: data for path, (_, data) in self.model.files.items()
        }
        for path, (entry, _) in frozen.items():
            assert entry is not None
            assert entry.mode is self.model.files[path][0]


TestOverlay = OverlayMachine.TestCase
