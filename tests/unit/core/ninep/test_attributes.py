"""Nodes' attributes as 9P shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_core.errors import InvalidArgument, NotPermitted
from datakit_core.ninep.attributes import (
    Chmod,
    Rename,
    Truncate,
    change_of,
    check_name,
    escape,
    kind_of,
    qid_of,
    unescape,
    wire_stat,
)
from datakit_core.ninep.messages import KEEP, WireStat
from datakit_core.ninep.wire import Qid
from datakit_core.vfs import Kind, Stat, StaticDirectory, TextFile


@pytest.mark.parametrize(
    ("kind", "mode", "qid_type"),
    [
        (Kind.DIRECTORY, 0x800001FD, 0x80),
        (Kind.FILE, 0o664, 0),
        (Kind.EXECUTABLE, 0o775, 0),
        (Kind.LINK, 0x020001FD, 0),
    ],
)
def test_the_mode_tells_the_kind_but_the_qid_only_directories(
    kind: Kind, mode: int, qid_type: int
) -> None:
    stat = wire_stat(Stat("n", kind, 7, length=3, target="t", version=2))
    assert stat == WireStat(
        0, 0, Qid(qid_type, 2, 7), mode, 0, 0, 3, "n", "root", "root", "none", "t", 0, 0, 0
    )


def test_the_qid_of_a_node_is_that_of_its_stat() -> None:
    file = TextFile("f", b"", inode=7, version=2)
    assert qid_of(file) == Qid(0, 2, 7)
    assert qid_of(StaticDirectory("d", [], inode=8)) == Qid(0x80, 0, 8)


@pytest.mark.parametrize(
    ("mode", "extension", "kind"),
    [
        (0x80000000 | 0o755, "", Kind.DIRECTORY),
        (0x02000000, "target", Kind.LINK),
        (0o644, "ignored", Kind.FILE),
        (0o755, "", Kind.EXECUTABLE),
        (0o100, "", Kind.EXECUTABLE),
        (0o011, "", Kind.FILE),
    ],
)
def test_permissions_say_what_to_create(mode: int, extension: str, kind: Kind) -> None:
    assert kind_of(mode, extension) is kind


def test_a_link_needs_a_target() -> None:
    with pytest.raises(InvalidArgument, match=r"^Missing target for symlink!$"):
        kind_of(0x02000000, "")


@pytest.mark.parametrize("mode", [0x00800000, 0x00200000, 0x00100000])
def test_special_files_do_not_exist(mode: int) -> None:
    with pytest.raises(NotPermitted):
        kind_of(mode | 0o644, "")


def test_a_wstat_changes_one_thing() -> None:
    assert change_of(KEEP) is None
    assert change_of(replace(KEEP, name="n")) == Rename("n")
    assert change_of(replace(KEEP, length=0)) == Truncate(0)
    assert change_of(replace(KEEP, mode=0o755, extension="t")) == Chmod(0o755, "t")


def test_owners_and_times_are_accepted_and_forgotten() -> None:
    ignored = replace(KEEP, atime=1, mtime=2, uid="u", gid="g", muid="m", n_uid=1, n_gid=2)
    assert change_of(ignored) is None
    assert change_of(replace(ignored, length=5)) == Truncate(5)


@pytest.mark.parametrize(
    "stat",
    [
        replace(KEEP, name="n", length=0),
        replace(KEEP, name="n", mode=0o644),
        replace(KEEP, length=0, mode=0o644),
        replace(KEEP, name="n", length=0, mode=0o644),
    ],
)
def test_two_changes_at_once_are_refused(stat: WireStat) -> None:
    with pytest.raises(InvalidArgument, match=r"^Can't rename/truncate/chmod at the same time$"):
        change_of(stat)


def test_a_dot_is_refused_with_its_text() -> None:
    with pytest.raises(InvalidArgument, match=r"^'\.' is not valid in 9p$"):
        check_name(".")


@pytest.mark.parametrize("name", ["", "..", "a\0b"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid file name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "...", "a/b", "\udcff", "a b", "%"])
def test_other_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("a", "a"), ("a/b", "a%2Fb"), ("100%", "100%25"), ("%2F", "%252F"), ("%25/", "%2525%2F")],
)
def test_escaped_names_have_no_slash_and_come_back(name: str, escaped: str) -> None:
    assert escape(name) == escaped
    assert unescape(escaped) == name


def test_unescaping_accepts_lower_case_and_a_lone_percent() -> None:
    assert unescape("a%2fb") == "a/b"
    assert unescape("100%") == "100%"


def test_files_belong_to_root_or_to_the_user_who_attached() -> None:
    stat = Stat("n", Kind.FILE, 1)
    assert (wire_stat(stat).uid, wire_stat(stat).n_uid) == ("root", 0)
    owned = wire_stat(stat, owner=1000)
    assert (owned.uid, owned.n_uid, owned.gid, owned.n_gid) == ("1000", 1000, "root", 0)


def test_the_root_is_called_slash_even_when_names_are_escaped() -> None:
    assert wire_stat(Stat("/", Kind.DIRECTORY, 1), escaped=True).name == "/"
    assert wire_stat(Stat("a/b", Kind.DIRECTORY, 1), escaped=True).name == "a%2Fb"
    assert wire_stat(Stat("a/b", Kind.DIRECTORY, 1)).name == "a/b"
