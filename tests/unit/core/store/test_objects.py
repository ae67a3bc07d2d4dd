"""Git's objects as values: the bytes are Git's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from datakit_core.errors import InvalidHash, StoreError
from datakit_core.store.objects import (
    EMPTY_TREE,
    Commit,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    ObjectKind,
    Signature,
    TreeId,
    decode_commit,
    decode_tree,
    decode_whole_tree,
    encode_commit,
    encode_tree,
    new_object,
    parse_id,
)
from tests.support.git import git

ONE, TWO = CommitId(ObjectId("1" * 40)), CommitId(ObjectId("2" * 40))
TREE = TreeId(ObjectId("a" * 40))
WHO = Signature("A. Writer", "writer@example.org", 1_700_000_000, 90)

NAMES = st.binary(min_size=1, max_size=6).filter(lambda raw: not {0, ord("/")} & set(raw))
ENTRIES = st.builds(
    Entry,
    st.sampled_from(list(FileMode)),
    st.binary(min_size=20, max_size=20).map(lambda raw: ObjectId(raw.hex())),
)


def test_ids_are_those_of_git() -> None:
    for data in (b"", b"hello\n", bytes(range(256))):
        given = subprocess.run(
            ["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True
        )
        assert new_object(ObjectKind.BLOB, data).id == given.stdout.decode().strip()
    assert EMPTY_TREE == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.mark.parametrize(
    "text", ["", "1" * 39, "1" * 41, "1" * 64, "A" * 40, " " + "1" * 39, "1" * 40 + "\n", "g" * 40]
)
def test_only_forty_lower_case_digits_are_an_id(text: str) -> None:
    with pytest.raises(InvalidHash, match="invalid-hash"):
        parse_id(text)


def test_a_tree_is_encoded_and_sorted_as_git_does(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", ".")
    blob = git(tmp_path, "hash-object", "-w", "--stdin", given=b"x")
    empty = git(tmp_path, "mktree")
    kinds = {
        FileMode.DIRECTORY: f"040000 tree {empty}",
        FileMode.NORMAL: f"100644 blob {blob}",
        FileMode.EXECUTABLE: f"100755 blob {blob}",
        FileMode.LINK: f"120000 blob {blob}",
    }
    names = {
        "a": FileMode.DIRECTORY,
        "a.b": FileMode.NORMAL,
        "a0": FileMode.EXECUTABLE,
        "a-": FileMode.LINK,
        "b": FileMode.NORMAL,
        "b.c": FileMode.DIRECTORY,
        "na\u00efve": FileMode.NORMAL,
    }
    lines = "".join(f"{kinds[mode]}\t{name}\n" for name, mode in names.items())
    theirs = git(tmp_path, "mktree", given=lines.encode())
    entries = {
        name: Entry(mode, ObjectId(empty if mode is FileMode.DIRECTORY else blob))
        for name, mode in names.items()
    }
    ours = new_object(ObjectKind.TREE, encode_tree(entries))
    assert ours.id == theirs
    assert list(decode_tree(ours.data)) == ["a-", "a.b", "a", "a0", "b", "b.c", "na\u00efve"]


@given(st.dictionaries(NAMES, ENTRIES, max_size=8))
def test_a_tree_survives_a_round_trip(entries: dict[bytes, Entry]) -> None:
    tree = {name.decode(errors="surrogateescape"): entry for name, entry in entries.items()}
    assert decode_whole_tree(encode_tree(tree)) == tree


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"100644 a",
        b"100644 a\0" + b"1" * 19,
        b"100644 \0" + b"1" * 20,
        b"1006449 a\0" + b"1" * 20,
        b"100644 a\0" + b"1" * 21,
        b" a\0" + b"1" * 20,
    ],
)
def test_a_damaged_tree_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="git fsck"):
        decode_tree(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_tree_or_an_error(data: bytes) -> None:
    try:
        tree = decode_tree(data)
    except StoreError:
        return
    assert all(len(entry.id) == 40 for entry in tree.values())


def test_a_commit_survives_a_round_trip() -> None:
    message = "Subject\n\nparent of nothing\nna\u00efve \udcff\n"
    later = Signature("B", "", 0, -330)
    data = encode_commit(TREE, [ONE, TWO], WHO, later, message)
    assert decode_commit(ONE, data) == Commit(ONE, TREE, (ONE, TWO), WHO, later, message)
    assert data.startswith(
        b"tree "
        + b"a" * 40
        + b"\nparent "
        + b"1" * 40
        + b"\nparent "
        + b"2" * 40
        + b"\nauthor A. Writer <writer@example.org> 1700000000 +0130\n"
        b"committer B <> 0 -0530\n\nSubject\n"
    )


def test_headers_that_are_not_known_are_passed_over() -> None:
    data = (
        f"tree {TREE}\nparent {ONE}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n"
        f"encoding latin-1\ngpgsig -----BEGIN\n parent {TWO}\n -----END\n\nSubject"
    ).encode()
    commit = decode_commit(TWO, data)
    assert commit.parents == (ONE,)
    assert commit.message == "Subject"


@pytest.mark.parametrize("bad", ["a\nparent x", "a<b", "a>b", "a\0b"])
def test_nothing_can_be_injected_through_a_name(bad: str) -> None:
    for who in (Signature(bad, "a", 0), Signature("a", bad, 0)):
        with pytest.raises(StoreError):
            encode_commit(TREE, [], who, WHO, "")
        with pytest.raises(StoreError):
            encode_commit(TREE, [], WHO, who, "")


def test_a_message_cannot_hold_nul_nor_begin_new_headers() -> None:
    with pytest.raises(StoreError, match="NUL"):
        encode_commit(TREE, [], WHO, WHO, "a\0b")
    message = f"\nparent {ONE}\n"
    assert decode_commit(TWO, encode_commit(TREE, [], WHO, WHO, message)).parents == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"tree x\n\n",
        b"tree " + b"a" * 40 + b"\n\nmessage",
        b"tree " + b"a" * 40 + b"\nauthor A <a> x +0000\n\n",
    ],
)
def test_a_damaged_commit_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode_commit(ONE, data)


def test_letters_stand_for_modes() -> None:
    served = [FileMode.NORMAL, FileMode.EXECUTABLE, FileMode.LINK, FileMode.DIRECTORY]
    assert [mode.letter for mode in FileMode] == ["F", "X", "L", "D", "S"]
    assert [FileMode.from_letter(letter) for letter in "FXLDSZ"] == [*served, None, None]
    assert str(Entry(FileMode.LINK, ONE)) == f"L-{ONE}"
