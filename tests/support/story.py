"""Stories: a pipeline stepped by number, each step's graph written down and compared.

The golden files are in ``tests/unit/ci/golden``; ``UPDATE_GOLDEN=1`` writes them anew, after which
they are read before they are committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datakit_ci.evaluate import Evaluation, evaluate
from datakit_ci.graph import Graph
from datakit_ci.need import Build, BuildFact, Facts, Joined, TargetHead, TreeOf
from datakit_ci.project import TargetTerms
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_ci.term import Term
from datakit_core.client.api import CommitId, ObjectId, TreeId

__all__ = ["MAIN", "Story", "build_id", "commit_id", "golden", "tree_id"]

MAIN = Target("me/app", "heads", "main")

_GOLDEN = Path(__file__).parent.parent / "unit" / "ci" / "golden"


def tree_id(number: int) -> TreeId:
    """A tree id that can be recognised."""
    return TreeId(ObjectId(f"{number:040x}"))


def commit_id(number: int) -> CommitId:
    """A commit id that can be recognised."""
    return CommitId(ObjectId(f"c{number:039x}"))


def build_id(need: Build) -> BuildId:
    """The name of a build whose key is simply its input."""
    return BuildId(need.project, need.spec.name, need.spec.static_digest(need.project), need.input)


class Story:
    """A target whose facts the test gives, step by step.

    Attributes:
        facts: What is known.
        last: The newest evaluation.
    """

    def __init__(
        self,
        jobs: Callable[[TargetTerms], Mapping[str, Term[Any]]] | Mapping[str, Term[Any]] | Graph,
        target: Target = MAIN,
    ) -> None:
        """Make the graph of ``jobs`` for ``target``; nothing is known yet."""
        self.target = target
        if isinstance(jobs, Graph):
            self.graph = jobs
        else:
            made = jobs if isinstance(jobs, Mapping) else jobs(TargetTerms(target))
            self.graph = Graph.of(made)
        self.facts = Facts()
        self.last: Evaluation = self.look()
        self._text: list[str] = []

    def look(self) -> Evaluation:
        """Evaluate with the facts as they are now."""
        self.last = evaluate(self.graph, self.facts, self.target)
        return self.last

    def head(self, number: int) -> None:
        """The target's head is now commit ``number``, with the tree of that number."""
        self.facts.record(TargetHead(self.target), commit_id(number))
        self.facts.record(TreeOf(commit_id(number)), tree_id(number))

    def tree(self, number: int) -> None:
        """Commit ``number`` has the tree of that number."""
        self.facts.record(TreeOf(commit_id(number)), tree_id(number))

    def join(self, number: int) -> None:
        """Whatever is to be joined becomes tree ``number``."""
        for need in self.look().needs:
            if isinstance(need, Joined):
                self.facts.record(need, tree_id(number))

    def build(self, stage: str) -> Build:
        """The one build of ``stage`` that is asked for."""
        (found,) = [need for need in self.look().builds if need.spec.name == stage]
        return found

    def waits(self, stage: str, reason: str) -> None:
        """The stage's build is in a queue."""
        need = self.build(stage)
        self.facts.record(need, BuildFact.waiting(reason, build_id(need)))

    def runs(self, stage: str) -> None:
        """The stage's build has started."""
        need = self.build(stage)
        self.facts.record(need, BuildFact.running(build_id(need)))

    def passes(self, stage: str, output: int) -> None:
        """The stage's build made tree ``output``."""
        need = self.build(stage)
        self.facts.record(need, BuildFact.passed(tree_id(output), build_id(need)))

    def fails(self, stage: str, reason: str) -> None:
        """The stage's build failed."""
        need = self.build(stage)
        self.facts.record(need, BuildFact.failed(reason, build_id(need)))

    def statuses(self) -> dict[str, str]:
        """Each job's state in one word."""
        return {job.name: job.status.value for job in self.look().jobs}

    def tell(self, title: str) -> None:
        """Write down where everything stands, as the next numbered step."""
        evaluation = self.look()
        lines = [f"{len(self._text) + 1}. {title}"]
        for node in evaluation.nodes:
            origin = f" <- {', '.join(node.inputs)}" if node.inputs else ""
            reason = f" ({node.reason})" if node.reason else ""
            lines.append(f"   {node.id}{origin}: {node.status.value}{reason}")
        for job in evaluation.jobs:
            builds = ", ".join(build.stage for build in job.builds) or "none"
            lines.append(f"   = {job.name}: {job.status.value}, {job.description}; builds {builds}")
        self._text.append("\n".join(lines))

    def compare(self, name: str) -> None:
        """Compare all that was told with the golden file ``name``."""
        golden(name, "\n\n".join(self._text) + "\n")


def golden(name: str, text: str) -> None:
    """Compare ``text`` with the golden file ``name``, or write it when asked to."""
    path = _GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()
