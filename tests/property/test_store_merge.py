"""Laws of merging: what must hold whatever the three trees are."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from datakit_core.store.merge import Merge, merge
from datakit_core.store.objects import EMPTY_TREE, FileMode, TreeId
from tests.support.trees import MemoryObjects

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
Files = dict[str, tuple[str, bool]]


@st.composite
def files(draw: st.DrawFn) -> Files:
    """A few files by path: their content, and whether they are executable."""
    drawn = draw(st.dictionaries(PATHS, st.tuples(st.sampled_from("xyz"), st.booleans())))
    return {path: file for path, file in drawn.items() if not is_below_a_file(path, drawn)}


def is_below_a_file(path: str, files: Files) -> bool:
    return any(path.startswith(f"{other}/") for other in files)


def make(objects: MemoryObjects, files: Files) -> TreeId:
    modes = {path: FileMode.EXECUTABLE for path, (_, executable) in files.items() if executable}
    return objects.make({path: text for path, (text, _) in files.items()}, modes)


def run(objects: MemoryObjects, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Merge:
    outcome = merge(objects.tree, base, ours, theirs)
    objects.add(outcome.objects)
    return outcome


@given(base=files(), side=files())
def test_a_side_that_changed_nothing_changes_nothing(base: Files, side: Files) -> None:
    objects = MemoryObjects()
    old, new = make(objects, base), make(objects, side)
    for ours, theirs in ((old, new), (new, old)):
        outcome = run(objects, old, ours, theirs)
        assert (outcome.tree, dict(outcome.conflicts)) == (new, {})


@given(base=st.none() | files(), side=files())
def test_equal_sides_agree(base: Files | None, side: Files) -> None:
    objects = MemoryObjects()
    old = None if base is None else make(objects, base)
    new = make(objects, side)
    outcome = run(objects, old, new, new)
    assert (outcome.tree, dict(outcome.conflicts)) == (new, {})


@given(base=st.none() | files(), ours=files(), theirs=files())
def test_the_sides_may_be_swapped(base: Files | None, ours: Files, theirs: Files) -> None:
    objects = MemoryObjects()
    old = None if base is None else make(objects, base)
    one, other = make(objects, ours), make(objects, theirs)
    here, there = run(objects, old, one, other), run(objects, old, other, one)
    assert here.tree == there.tree
    assert here.conflicts == there.conflicts


@given(base=files(), ours=files(), theirs=files())
def test_each_path_follows_the_rule(base: Files, ours: Files, theirs: Files) -> None:
    objects = MemoryObjects()
    outcome = run(objects, make(objects, base), make(objects, ours), make(objects, theirs))
    merged = objects.texts(outcome.tree)
    for path in {*base, *ours, *theirs}:
        if any(path == at or path.startswith(f"{at}/") for at in outcome.conflicts):
            continue
        before, our, their = base.get(path), ours.get(path), theirs.get(path)
        expected = their if our == before else our
        assert our in (before, their) or their == before
        entry = objects.entry(outcome.tree, path)
        assert merged.get(path) == (None if expected is None else expected[0])
        if expected is not None:
            assert entry is not None
            assert (entry.mode is FileMode.EXECUTABLE) == expected[1]
    assert set(merged) <= {*base, *ours, *theirs, *outcome.conflicts}


@given(base=files(), ours=files(), theirs=files())
def test_a_path_in_conflict_holds_a_normal_file_that_says_why(
    base: Files, ours: Files, theirs: Files
) -> None:
    objects = MemoryObjects()
    outcome = run(objects, make(objects, base), make(objects, ours), make(objects, theirs))
    for path, reason in outcome.conflicts.items():
        entry = objects.entry(outcome.tree, path)
        assert entry is not None
        assert entry.mode is FileMode.NORMAL
        assert objects.blob_of(entry) == f"** Conflict **\n{reason.value}\n".encode()
    assert list(outcome.conflicts) == sorted(outcome.conflicts)


@given(ours=files(), theirs=files())
def test_no_ancestor_is_an_empty_one(ours: Files, theirs: Files) -> None:
    objects = MemoryObjects()
    one, other = make(objects, ours), make(objects, theirs)
    nothing, empty = run(objects, None, one, other), run(objects, EMPTY_TREE, one, other)
    assert nothing.tree == empty.tree
    assert nothing.conflicts == empty.conflicts
