"""Which branch is about which project, and so who may clone it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.acl import Identity, Rights, Rules, Scope, everyone, nobody, username
from datakit_ci.dashboard.clones import project_of, visible
from datakit_ci.dashboard.visitor import Visitor
from datakit_ci.state import BuildId
from datakit_ci.target import Target

_WORD = st.text(min_size=1).filter(lambda text: "/" not in text and _encodes(text))


def _encodes(text: str) -> bool:
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@given(_WORD, _WORD, _WORD)
def test_branches_of_results_and_statuses_name_their_project(
    user: str, repo: str, name: str
) -> None:
    project = f"{user}/{repo}"
    assert project_of(BuildId(project, name, "", "").branch) == project
    for kind in ("heads", "tags", "pr"):
        assert project_of(Target(project, kind, name).status_branch) == project


@pytest.mark.parametrize(
    "branch",
    [
        "github-metadata", "control", "commit-index", "main", "flows", "results", "results/me-app",
        "results//unit", "results/me_2dapp/", "results/me_2Dapp/unit", "results/me app/unit",
        "status-", "status-me", "status-flows-clean", "status-me_2D-app-x", "xresults/me-app/unit",
    ],
)  # fmt: skip
def test_any_other_branch_is_about_more_than_one_project(branch: str) -> None:
    project = project_of(branch)
    assert project in ("", "me-app")  # one part: a project that nobody has rights in


HEADS = {
    "results/me-a/unit": "1",
    "status-me-b-pr-1": "2",
    "results/me-gone/unit": "3",
    "control": "4",
    "main": "5",
}


def visitor(scope: Scope | None = None, **rights: Rights) -> Visitor:
    projects = {f"me/{name}": right for name, right in rights.items()}
    rules = Rules(Rights(read=everyone), projects)
    return Visitor(Identity("ann"), rules=lambda: rules, scope=scope or Scope())


ANN, NOBODY = Rights(read=username("ann")), Rights(read=nobody)


def test_shared_branches_are_for_who_reads_every_project_even_those_that_are_gone() -> None:
    assert visible(HEADS, visitor(a=ANN, b=ANN)).keys() == {"results/me-a/unit", "status-me-b-pr-1"}
    assert visible(HEADS, visitor(a=ANN, b=ANN, gone=ANN)) == HEADS
    without = visible(HEADS, visitor(a=ANN, b=ANN, gone=ANN, secret=NOBODY))
    assert without.keys() == HEADS.keys() - {"control", "main"}


def test_a_token_for_one_project_shows_that_alone() -> None:
    scope = Scope(projects=frozenset(["me/a"]))
    assert visible(HEADS, visitor(scope, a=ANN, b=ANN, gone=ANN)).keys() == {"results/me-a/unit"}


def test_who_may_read_nothing_sees_nothing() -> None:
    assert visible(HEADS, visitor(a=NOBODY, b=NOBODY, gone=NOBODY)) == {}
    assert visible({"control": "1"}, Visitor()) == {}
