"""Our rules for names against Git's own: never laxer."""

from __future__ import annotations

import subprocess

import hypothesis.strategies as st
from hypothesis import HealthCheck, assume, given, settings

from datakit_core.errors import InvalidArgument, InvalidName
from datakit_core.store.names import check_branch, check_file_name, is_git_disguise

ODD = st.text(st.sampled_from("ab./-@{}~^:?*[\\ \x00\x01\x7f\u00e9\U0001f600lock"), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(ODD)
def test_every_branch_name_that_we_accept_is_one_for_git(name: str) -> None:
    try:
        check_branch(name)
    except InvalidName:
        assume(False)
    done = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False)
    assert done.returncode == 0


@given(st.text(st.sampled_from(".gGiItT~1:\\/ \u200c\u202e\ufeffx"), max_size=8))
def test_an_accepted_file_name_cannot_become_dot_git(name: str) -> None:
    try:
        check_file_name(name)
    except InvalidArgument:
        return
    plain = "".join(char for char in name if char not in "\u200c\u202e\ufeff").lower()
    assert plain.split(":")[0].rstrip(" .") not in (".git", "git~1")
    assert not is_git_disguise(name)
    assert "/" not in name
    assert "\\" not in name
