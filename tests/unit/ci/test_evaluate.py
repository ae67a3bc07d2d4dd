"""Evaluation: stories of pipelines, step by step, and each kind of node to its last branch."""

from __future__ import annotations

import pytest

from datakit_ci import (
    Failed,
    Ok,
    Pending,
    Result,
    Target,
    TargetTerms,
    Term,
    Tree,
    all_,
    branch,
    branch_head,
    catch,
    ci_status,
    ci_success_target_url,
    ci_target_url,
    fail,
    gate,
    job_id,
    join,
    map_list,
    pair,
    pending,
    return_,
    shell,
    state,
    tag,
    tree_of,
    wait_for,
    wait_for_all,
    without_logs,
)
from datakit_ci.evaluate import MAX_DEPTH, Evaluation, evaluate
from datakit_ci.metadata import CommitStatus
from datakit_ci.need import (
    BranchHead,
    Build,
    BuildFact,
    Facts,
    StatusOf,
    TargetHead,
    TreeOf,
    Trouble,
)
from datakit_ci.state import Status
from datakit_core.errors import ConfigError
from tests.support.story import MAIN, Story, build_id, commit_id, tree_id

lint = shell("lint", "ruff check .")
unit = shell("unit", "pytest", inputs=["src", "tests"])
wheel = shell("wheel", "python -m build", outputs=["dist"])
smoke = shell("smoke", "pip install dist/*")


def pipeline(target: TargetTerms) -> dict[str, Term[Tree]]:
    source = target.source
    built = wheel(gate(source, lint(source)))
    return {
        "lint": lint(source),
        "unit": unit(source),
        "wheel": built,
        "smoke": smoke(join({"": source, "dist": built})),
    }


def result_of(
    term: Term[object], facts: Facts | None = None, target: Target = MAIN
) -> Result[object]:
    return evaluated(term, facts, target).outputs["job"].result


def evaluated(term: Term[object], facts: Facts | None = None, target: Target = MAIN) -> Evaluation:
    return evaluate({"job": term}, facts or Facts(), target)


def test_a_pipeline_runs_from_commit_to_success() -> None:
    story = Story(pipeline)
    story.tell("nothing is known")
    story.head(1)
    story.tell("the head is known: what depends only on it is asked for")
    story.waits("lint", "waiting for pool cpu (1 of 1 busy)")
    story.runs("unit")
    story.tell("one stage waits for a pool, one runs")
    story.passes("lint", 10)
    story.fails("unit", "exit status 1")
    story.tell("lint passed and unit failed, which blocks nothing")
    story.passes("wheel", 11)
    story.tell("the wheel is there: the join is asked for")
    story.join(12)
    story.tell("the joined tree is there")
    story.passes("smoke", 13)
    story.tell("all is done")
    story.compare("success")


def test_a_failure_blocks_what_follows_and_a_new_head_starts_again() -> None:
    story = Story(pipeline)
    story.head(1)
    story.fails("lint", "exit status 1")
    story.passes("unit", 10)
    story.tell("lint failed: wheel and smoke are blocked by it")
    story.head(2)
    story.tell("a new head: everything is asked again")
    story.head(1)
    story.tell("back to the old head: all is known")
    story.compare("failure")


def test_a_term_used_twice_is_one_node_and_one_build() -> None:
    story = Story(pipeline)
    story.head(1)
    assert [node.id for node in story.look().nodes].count("stage:lint") == 1
    assert len([need for need in story.last.asked if isinstance(need, Build)]) == 2


def test_the_same_stage_on_other_inputs_has_a_numbered_id() -> None:
    again = Story(lambda target: {"a": lint(target.source), "b": lint(lint(target.source))})
    assert [node.id for node in again.last.nodes] == ["source", "stage:lint", "stage:lint#2"]


def test_a_thousand_stages_in_a_row_need_no_deep_stack() -> None:
    term = TargetTerms(MAIN).source
    for number in range(1000):
        term = shell(f"s{number}", f"echo {number}")(term)
    story = Story({"last": term})
    story.head(1)
    story.fails("s0", "no")
    assert story.statuses() == {"last": "blocked"}
    assert story.last.nodes[-1].reason == "s0 failed"


def test_wants_name_only_what_can_be_answered_now() -> None:
    story = Story(pipeline)
    assert story.look().needs == {TargetHead(MAIN)}
    story.head(1)
    needs = story.look().needs
    assert {need.spec.name for need in needs if isinstance(need, Build)} == {"lint", "unit"}
    assert needs < story.last.asked


def test_a_target_that_is_gone_is_a_failure_of_the_source() -> None:
    facts = Facts({TargetHead(MAIN): None})
    assert result_of(TargetTerms(MAIN).source, facts) == Failed(
        "there is no heads/main in me/app", "source"
    )


def test_trouble_with_an_answer_is_an_error() -> None:
    facts = Facts({TargetHead(MAIN): commit_id(1)})
    facts.record(TreeOf(commit_id(1)), Trouble("no such commit"))
    assert result_of(TargetTerms(MAIN).source, facts) == Failed(
        "no such commit", "source", Status.ERROR
    )


@pytest.mark.parametrize(
    ("fact", "status"),
    [
        (BuildFact.cancelled("by ann"), "cancelled"),
        (BuildFact.error("disk full"), "error"),
        (BuildFact.failed("exit status 2"), "failure"),
        (BuildFact.waiting("waiting for pool cpu"), "waiting"),
    ],
)
def test_a_job_shows_what_became_of_its_build(fact: BuildFact, status: str) -> None:
    story = Story(lambda target: {"lint": lint(target.source)})
    story.head(1)
    story.facts.record(story.build("lint"), fact)
    assert story.statuses() == {"lint": status}
    assert story.last.jobs[0].description == fact.reason


def test_builds_are_named_in_the_order_of_need_without_those_left_out() -> None:
    def jobs(target: TargetTerms) -> dict[str, Term[Tree]]:
        checked = gate(target.source, without_logs(unit(target.source)), lint(target.source))
        return {"wheel": wheel(checked)}

    story = Story(jobs)
    story.head(1)
    story.passes("lint", 1)
    story.passes("unit", 2)
    story.runs("wheel")
    assert [build.stage for build in story.look().jobs[0].builds] == ["lint", "wheel"]


class TestCombinators:
    """Each combinator by its own law."""

    def test_return_is_ok(self) -> None:
        assert result_of(return_(3)) == Ok(3)

    def test_fail_fails_and_pending_waits_at_their_own_node(self) -> None:
        assert result_of(fail("no")) == Failed("no", "fail")
        assert result_of(pending("soon")) == Pending("soon", "pending", said=True)

    def test_map_applies_to_the_value_only(self) -> None:
        assert result_of(return_(3).map(str)) == Ok("3")
        assert result_of(fail("no").map(str)) == Failed("no", "fail")

    def test_an_exception_in_map_is_an_error_with_its_place(self) -> None:
        result = result_of(return_(0).map(lambda value: 1 / value))
        assert isinstance(result, Failed)
        assert result.kind is Status.ERROR
        assert result.reason.startswith("ZeroDivisionError: division by zero (")
        assert "test_evaluate.py:" in result.reason

    def test_pair_and_all_collect_values_in_order(self) -> None:
        assert result_of(pair(return_(1), return_("a"))) == Ok((1, "a"))
        assert result_of(all_([return_(1), return_(2), return_(3)])) == Ok((1, 2, 3))
        assert result_of(all_([])) == Ok(())

    def test_an_error_beats_pending(self) -> None:
        assert result_of(pair(pending("soon"), fail("no"))) == Failed("no", "fail")
        assert result_of(all_([fail("no"), pending("soon")])) == Failed("no", "fail")

    def test_state_is_always_a_success(self) -> None:
        assert result_of(state(fail("no"))) == Ok(Failed("no", "fail"))
        assert result_of(state(pending("soon"))) == Ok(Pending("soon", "pending", said=True))
        assert result_of(state(return_(1))) == Ok(Ok(1))

    def test_catch_waits_and_then_is_a_success(self) -> None:
        assert result_of(catch(fail("no"))) == Ok(Failed("no", "fail"))
        assert result_of(catch(pending("soon"))) == Pending("soon", "pending", said=True)
        assert result_of(catch(return_(1))) == Ok(Ok(1))

    def test_gate_is_its_value_once_the_conditions_hold(self) -> None:
        assert result_of(gate(return_(1), return_(2), return_(3))) == Ok(1)
        assert result_of(gate(return_(1), fail("no"))) == Failed("no", "fail")
        assert result_of(gate(return_(1), pending("soon"))) == Pending("soon", "pending", said=True)
        assert result_of(gate(return_(1))) == Ok(1)

    def test_wait_for_replaces_the_reason_but_not_the_node(self) -> None:
        term = wait_for(pending("soon"), while_pending="being cooked", on_failure="burnt")
        assert result_of(term) == Pending("being cooked", "pending", said=True)
        term = wait_for(fail("no"), while_pending="being cooked", on_failure="burnt")
        assert result_of(term) == Failed("burnt", "fail")
        assert result_of(wait_for(return_(1))) == Ok(None)
        assert result_of(wait_for(fail("no"))) == Failed("no", "fail")

    def test_wait_for_all_names_what_is_missing(self) -> None:
        assert result_of(wait_for_all({"a": return_(1), "b": return_(2)})) == Ok(None)
        assert result_of(
            wait_for_all({"a": pending("x"), "b": return_(1), "c": pending("y")})
        ) == Pending("a, c pending", "pending")
        assert result_of(wait_for_all({"a": pending("x"), "b": fail("no")})) == Failed(
            "b failed", "fail"
        )

    def test_job_id_differs_from_job_to_job(self) -> None:
        name = job_id().map(str.upper)
        evaluation = evaluate({"a": name, "b": name}, Facts(), MAIN)
        assert [output.result for output in evaluation.outputs.values()] == [Ok("A"), Ok("B")]
        assert [node.id for node in evaluation.nodes] == [
            "job-id:a",
            "map:upper",
            "job-id:b",
            "map:upper#2",
        ]

    def test_heads_of_branches_tags_and_the_database(self) -> None:
        other = Target("you/lib", "heads", "dev")
        facts = Facts({TargetHead(other): commit_id(5), TreeOf(commit_id(5)): tree_id(6)})
        assert result_of(tree_of(branch_head("you/lib", "dev")), facts) == Ok(Tree(tree_id(6)))
        facts.record(TargetHead(Target("you/lib", "tags", "v1")), None)
        assert result_of(tag("you/lib", "v1"), facts) == Failed(
            "there is no tags/v1 in you/lib", "head:you/lib:tags/v1"
        )
        facts.record(BranchHead("raw"), commit_id(7))
        assert result_of(branch("raw"), facts) == Ok(commit_id(7))


class TestOtherCIs:
    """What other CIs say of a target's head."""

    CONTEXT = "ci/other/build"

    def facts(self, said: CommitStatus | None) -> Facts:
        return Facts(
            {
                TargetHead(MAIN): commit_id(1),
                StatusOf("me/app", commit_id(1), self.CONTEXT): said,
            }
        )

    @pytest.mark.parametrize(
        ("said", "state", "url", "success"),
        [
            (None, None, None, Pending("waits for ci/other/build", "pending")),
            (
                CommitStatus("pending", "at work", "http://ci/1"),
                "pending",
                "http://ci/1",
                Pending("waits for ci/other/build", "pending"),
            ),
            (CommitStatus("success", "", "http://ci/1"), "success", "http://ci/1", "http://ci/1"),
            (
                CommitStatus("success", ""),
                "success",
                None,
                Failed("ci/other/build passed without an address", "fail"),
            ),
            (
                CommitStatus("failure", "2 tests"),
                "failure",
                None,
                Failed("ci/other/build reported failure: 2 tests", "fail"),
            ),
            (CommitStatus("error", ""), "error", None, Failed("ci/other/build reported error", "")),
        ],
    )
    def test_status_and_addresses(
        self,
        said: CommitStatus | None,
        state: str | None,
        url: str | None,
        success: str | Pending | Failed,
    ) -> None:
        facts = self.facts(said)
        assert result_of(ci_status(self.CONTEXT, MAIN), facts) == Ok(state)
        assert result_of(ci_target_url(f"/{self.CONTEXT}/", MAIN), facts) == Ok(url)
        result = result_of(ci_success_target_url(self.CONTEXT, MAIN), facts)
        match success:
            case str():
                assert result == Ok(success)
            case Pending(reason=reason):
                assert isinstance(result, Pending)
                assert result.reason == reason
            case Failed(reason=reason):
                assert isinstance(result, Failed)
                assert result.reason == reason
                assert result.node == "ci-status:ci_other_build"

    def test_a_target_that_is_gone_has_no_status(self) -> None:
        facts = Facts({TargetHead(MAIN): None})
        result = result_of(ci_status(self.CONTEXT, MAIN), facts)
        assert result == Failed("there is no heads/main in me/app", "ci-status:ci_other_build")

    def test_a_context_has_a_name(self) -> None:
        with pytest.raises(ConfigError, match="name the other CI's context"):
            ci_status("/", MAIN)


class TestNonsense:
    """Values of the wrong kind are errors of their node, never exceptions."""

    def test_a_stage_wants_a_tree(self) -> None:
        result = result_of(lint(return_("text")))  # type: ignore[arg-type]
        assert result == Failed(
            "stage lint was given 'text', not a tree", "stage:lint", Status.ERROR
        )

    def test_join_wants_trees_and_ready_ones(self) -> None:
        facts = Facts({TargetHead(MAIN): commit_id(1), TreeOf(commit_id(1)): tree_id(1)})
        source = TargetTerms(MAIN).source
        wrong = result_of(join({"": source, "a": return_(1)}), facts)  # type: ignore[arg-type]
        assert isinstance(wrong, Failed)
        assert "not a tree for 'a'" in wrong.reason
        assert result_of(join({"": source, "a": pending("soon")}), facts) == Pending(
            "soon", "pending", said=True
        )

    def test_what_waits_for_an_author_s_reason_repeats_it(self) -> None:
        facts = Facts({TargetHead(MAIN): commit_id(1), TreeOf(commit_id(1)): tree_id(1)})
        source = TargetTerms(MAIN).source
        frozen = smoke(lint(gate(source, pending("the release freeze"))))
        assert result_of(frozen, facts) == Pending("the release freeze", "pending", said=True)
        told = wait_for(lint(source), while_pending="the linter is at it")
        waiting = result_of(smoke(gate(source, told)), facts)
        assert isinstance(waiting, Pending)
        assert waiting.reason == "the linter is at it"

    def test_tree_of_wants_a_commit_that_is_there(self) -> None:
        wrong = result_of(tree_of(return_(3)))  # type: ignore[arg-type]
        assert isinstance(wrong, Failed)
        assert "not a commit" in wrong.reason
        assert result_of(tree_of(fail("no"))) == Failed("no", "fail")

    def test_bind_wants_a_function_that_makes_terms(self) -> None:
        wrong = result_of(return_(3).bind(str))  # type: ignore[arg-type]
        assert isinstance(wrong, Failed)
        assert "'3', not a term" in wrong.reason


class TestDynamicParts:
    """What values add to the graph."""

    def test_bind_adds_nodes_below_its_own_id_and_leaves_the_others_alone(self) -> None:
        def jobs(target: TargetTerms) -> dict[str, Term[object]]:
            source = target.source
            return {
                "chosen": target.head.bind(lambda _: wheel(lint(source)), "choose"),
                "lint": lint(source),
                "again": smoke(lint(source)),
            }

        story = Story(jobs)
        story.tell("before the head is known")
        story.head(1)
        story.tell("the value adds a stage; lint is the node that was there")
        story.passes("lint", 2)
        story.runs("wheel")
        story.tell("the job of the bind shows the build of the part")
        story.compare("bind")

    def test_map_list_makes_one_term_for_each_element(self) -> None:
        term = map_list(return_([1, 2, 3]), lambda number: return_(number * 10))
        assert result_of(term) == Ok((10, 20, 30))
        missing = map_list(return_([1, 2]), lambda n: fail(f"no {n}") if n == 2 else return_(n))
        assert isinstance(result_of(missing), Failed)

    def test_nested_binds_have_nested_ids(self) -> None:
        term = return_(1).bind(
            lambda a: return_(a + 1).bind(lambda b: return_(b + 1), "inner"), "outer"
        )
        evaluation = evaluated(term)
        assert evaluation.outputs["job"].result == Ok(3)
        assert [node.id for node in evaluation.nodes] == [
            "value",
            "bind:outer/value",
            "bind:outer/bind:inner/value",
            "bind:outer/bind:inner",
            "bind:outer",
        ]

    def test_a_bind_that_fails_or_waits_adds_nothing(self) -> None:
        assert result_of(fail("no").bind(return_)) == Failed("no", "fail")
        assert [node.id for node in evaluated(pending("x").bind(return_, "b")).nodes] == [
            "pending",
            "bind:b",
        ]

    def test_a_bind_that_needs_its_own_result_is_an_error(self) -> None:
        terms: list[Term[int]] = []
        terms.append(return_(1).bind(lambda _: terms[0], "self"))
        result = result_of(terms[0])
        assert result == Failed("bind:self needs its own result", "bind:self", Status.ERROR)

    def test_a_circle_through_another_node_is_an_error(self) -> None:
        terms: list[Term[int]] = []
        circle = return_(1).bind(lambda _: terms[0], "circle")
        terms.append(circle.map(lambda value: value + 1, "more"))
        result = result_of(circle)
        assert result == Failed(
            "bind:circle needs its own result", "bind:circle/map:more", Status.ERROR
        )

    def test_a_graph_without_end_is_an_error(self) -> None:
        def again(value: int) -> Term[int]:
            return return_(value + 1).bind(again)

        evaluation = evaluated(return_(0).bind(again))
        result = evaluation.outputs["job"].result
        assert isinstance(result, Failed)
        assert result.reason.startswith("the graph grows without end")
        assert len(evaluation.nodes) < 3 * MAX_DEPTH

    def test_job_id_is_not_known_in_a_bind_that_jobs_share(self) -> None:
        shared = result_of(return_(1).bind(lambda _: job_id()))
        assert isinstance(shared, Failed)
        assert "job_id is unknown" in shared.reason
        own = result_of(job_id().bind(lambda name: job_id().map(lambda again: (name, again))))
        assert own == Ok(("job", "job"))


def test_evaluating_twice_gives_the_same() -> None:
    story = Story(pipeline)
    story.head(1)
    story.runs("lint")
    first = story.look()
    assert story.look() == first


def test_builds_of_equal_stages_on_equal_trees_are_one_need() -> None:
    story = Story(lambda target: {"a": unit(lint(target.source)), "b": unit(target.source)})
    story.head(1)
    story.passes("lint", 1)
    assert len([need for need in story.look().builds if need.spec.name == "unit"]) == 1
    need = story.build("unit")
    story.facts.record(need, BuildFact.passed(tree_id(9), build_id(need)))
    assert story.statuses() == {"a": "success", "b": "success"}
