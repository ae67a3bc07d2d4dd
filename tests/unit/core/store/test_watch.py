"""Watches: who is told what, when, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from datakit_core.errors import InvalidArgument, UnknownObject
from datakit_core.store.objects import (
    Commit,
    CommitId,
    Entry,
    ObjectKind,
    Signature,
    Tree,
    TreeId,
    encode_commit,
    new_object,
)
from datakit_core.store.watch import Watches
from tests.support.trees import MemoryObjects

WHO = Signature("A. Writer", "writer@example.org", 0)


@dataclass
class Scene:
    """Watches over objects in memory, and the commits of a branch."""

    objects: MemoryObjects = field(default_factory=MemoryObjects)
    commits: dict[CommitId, Commit] = field(default_factory=dict)
    soon: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watches = Watches(self, self.soon.append)

    def commit(self, commit: CommitId) -> Commit:
        if commit not in self.commits:
            raise UnknownObject(f"no commit {commit}")
        return self.commits[commit]

    def tree(self, tree: TreeId) -> Tree:
        return self.objects.tree(tree)

    def make(self, **files: str) -> CommitId:
        """A commit with ``files``; two underscores stand for a slash."""
        tree = self.objects.make({name.replace("__", "/"): text for name, text in files.items()})
        data = encode_commit(tree, (), WHO, WHO, f"{len(self.commits)}")
        commit = CommitId(new_object(ObjectKind.COMMIT, data).id)
        self.commits[commit] = Commit(commit, tree, (), WHO, WHO, "")
        return commit

    def publish(self, **files: str) -> CommitId:
        """Make a commit the head of ``main``."""
        commit = self.make(**files)
        self.watches.publish({"main": commit})
        return commit

    def entry(self, commit: CommitId, path: str) -> Entry | None:
        return self.objects.entry(self.commits[commit].tree, path)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_head_is_told_when_it_differs(scene: Scene) -> None:
    told: list[CommitId | None] = []
    scene.watches.subscribe_head("main", told.append)
    first = scene.publish(a="1")
    scene.watches.publish({"main": first, "other": first})
    scene.watches.publish({"main": None})
    scene.watches.publish({"main": None})
    assert told == [first, None]
    assert dict(scene.watches.heads) == {"other": first}


def test_changed_branches_are_told_together(scene: Scene) -> None:
    told: list[frozenset[str]] = []
    scene.watches.subscribe_branches(told.append)
    head = scene.make(a="1")
    scene.watches.publish({"a": head, "b": head, "never": None})
    scene.watches.publish({"a": head})
    scene.watches.publish({"a": None, "c": head})
    assert told == [frozenset("ab"), frozenset("ac")]


def test_subscribers_see_all_new_heads_when_they_are_told(scene: Scene) -> None:
    seen: list[dict[str, CommitId]] = []
    scene.watches.subscribe_head("a", lambda _: seen.append(dict(scene.watches.heads)))
    head = scene.make(a="1")
    scene.watches.publish({"a": head, "b": head})
    assert seen == [{"a": head, "b": head}]


def test_a_path_is_told_when_what_is_there_differs(scene: Scene) -> None:
    told: list[Entry | None] = []
    scene.watches.subscribe_path("main", "d/f", told.append)
    first = scene.publish(d__f="1")
    scene.publish(d__f="1", other="1")
    second = scene.publish(d__f="2")
    scene.publish(d__g="2")
    last = scene.publish(d__f__x="3")
    scene.watches.publish({"main": None})
    assert told == [
        scene.entry(first, "d/f"), scene.entry(second, "d/f"), None, scene.entry(last, "d/f"), None,
    ]  # fmt: skip


def test_root_and_directories_are_paths_too(scene: Scene) -> None:
    roots: list[Entry | None] = []
    directories: list[Entry | None] = []
    scene.watches.subscribe_path("main", "", roots.append)
    scene.watches.subscribe_path("main", "d", directories.append)
    first = scene.publish(d__f="1")
    second = scene.publish(d__f="1", e="2")
    assert roots == [scene.entry(first, ""), scene.entry(second, "")]
    assert directories == [scene.entry(first, "d")]


def test_a_subscriber_that_comes_late_starts_from_the_present(scene: Scene) -> None:
    scene.publish(d__f="1")
    told: list[Entry | None] = []
    scene.watches.subscribe_path("main", "d/f", told.append)
    scene.publish(d__f="1", x="1")
    assert told == []
    last = scene.publish(d__f="2")
    assert told == [scene.entry(last, "d/f")]


def test_a_closed_subscription_is_told_nothing(scene: Scene) -> None:
    told: list[object] = []
    subscriptions = [
        scene.watches.subscribe_head("main", told.append),
        scene.watches.subscribe_path("main", "a/b", told.append),
        scene.watches.subscribe_branches(told.append),
    ]
    for subscription in subscriptions:
        assert not subscription.closed
        subscription.close()
        subscription.close()
        assert subscription.closed
    scene.publish(a__b="1")
    assert told == []


def test_a_callback_may_close_the_others_and_itself(scene: Scene) -> None:
    told: list[str] = []

    def first(_: object) -> None:
        told.append("first")
        one.close()
        two.close()

    one = scene.watches.subscribe_head("main", first)
    two = scene.watches.subscribe_head("main", lambda _: told.append("second"))
    scene.publish(a="1")
    scene.publish(a="2")
    assert told == ["first"]


def test_a_callback_may_subscribe(scene: Scene) -> None:
    told: list[object] = []

    def subscribe(_: object) -> None:
        once.close()
        scene.watches.subscribe_path("main", "a", told.append)

    once = scene.watches.subscribe_head("main", subscribe)
    scene.publish(a="1")
    assert told == []
    last = scene.publish(a="2")
    assert told == [scene.entry(last, "a")]


def test_a_callback_that_fails_harms_no_other(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    told: list[object] = []
    scene.watches.subscribe_head("main", fail)
    scene.watches.subscribe_head("main", told.append)
    head = scene.publish(a="1")
    assert told == [head]
    assert "a bug" in caplog.text


def test_a_head_that_cannot_be_read_is_an_empty_tree(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []
    scene.watches.subscribe_path("main", "a", told.append)
    scene.publish(a="1")
    lost = scene.make(a="2")
    del scene.commits[lost]
    scene.watches.publish({"main": lost})
    assert told[-1] is None
    assert "unusable head" in caplog.text


def reads_of_a_commit(scene: Scene, publish: Callable[[], object]) -> int:
    scene.objects.reads.clear()
    publish()
    return len(scene.objects.reads)


def test_idle_watchers_of_other_paths_cost_nothing(scene: Scene) -> None:
    files = {f"d{n}__f": "1" for n in range(50)}
    scene.publish(**files)
    told: list[object] = []
    scene.watches.subscribe_path("main", "d0/f", told.append)
    alone = reads_of_a_commit(scene, lambda: scene.publish(**files | {"d0__f": "2"}))
    for n in range(1, 50):
        scene.watches.subscribe_path("main", f"d{n}/f", told.append)
    crowded = reads_of_a_commit(scene, lambda: scene.publish(**files | {"d0__f": "3"}))
    assert alone == crowded == 2
    assert len(told) == 2


def test_watchers_of_absent_names_are_not_even_looked_at(scene: Scene) -> None:
    scene.publish(a="1")
    looked: list[str] = []

    class Watched(str):
        """A name that notes when it is compared or hashed."""

        __slots__ = ()

        def __hash__(self) -> int:
            looked.append(self)
            return super().__hash__()

        __eq__ = str.__eq__

    for n in range(100):
        scene.watches.subscribe_path("main", f"absent{n}", lambda _: None)
    root = scene.watches._by_path["main"]
    root.children = {Watched(name): node for name, node in root.children.items()}
    looked.clear()
    scene.publish(a="2")
    assert looked == []


def test_a_path_that_is_too_deep_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidArgument):
        scene.watches.subscribe_path("main", "/".join("d" * 300), lambda _: None)


def test_nodes_are_dropped_with_their_last_subscriber(scene: Scene) -> None:
    scene.publish(a__b="1")
    one = scene.watches.subscribe_path("main", "a/b/c", lambda _: None)
    two = scene.watches.subscribe_path("main", "a", lambda _: None)
    three = scene.watches.subscribe_head("main", lambda _: None)
    one.close()
    assert list(scene.watches._by_path["main"].children["a"].children) == []
    two.close()
    three.close()
    assert scene.watches._by_path == {}
    assert scene.watches._by_head == {}
