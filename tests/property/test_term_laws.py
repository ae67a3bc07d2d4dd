"""Laws of terms: they hold for any term, however it is put together."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

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
    catch,
    fail,
    gate,
    join,
    pair,
    pending,
    return_,
    shell,
    state,
    wait_for,
    wait_for_all,
    without_logs,
)
from datakit_ci.evaluate import Evaluation, evaluate
from datakit_ci.graph import Graph
from datakit_ci.need import Build, BuildFact, Facts, Joined, TargetHead, TreeOf
from datakit_ci.state import Status
from tests.support.story import MAIN, build_id, commit_id, tree_id

leaves: st.SearchStrategy[Term[object]] = st.one_of(
    st.integers(0, 9).map(return_),
    st.sampled_from(["no", "never"]).map(fail),
    st.sampled_from(["soon", "later"]).map(pending),
)


def _larger(terms: st.SearchStrategy[Term[object]]) -> st.SearchStrategy[Term[object]]:
    several = st.lists(terms, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(terms, terms).map(lambda two: pair(*two)),
        several.map(all_),
        several.map(lambda given: gate(*given)),
        several.map(lambda given: wait_for_all({str(n): term for n, term in enumerate(given)})),
        terms.map(state),
        terms.map(catch),
        terms.map(without_logs),
        terms.map(lambda term: wait_for(term, while_pending="w", on_failure="f")),
        terms.map(lambda term: term.map(str)),
        st.tuples(terms, terms).map(lambda two: two[0].bind(lambda _: two[1])),
    )


terms = st.recursive(leaves, _larger, max_leaves=12)


def results(*given: Term[object]) -> list[Result[object]]:
    jobs = {f"job{number}": term for number, term in enumerate(given)}
    return [output.result for output in evaluate(jobs, Facts(), MAIN).outputs.values()]


def rank(result: Result[object]) -> int:
    """How a result fares: a failure beats pending, which beats a value."""
    match result:
        case Failed():
            return 2
        case Pending():
            return 1
        case Ok():
            return 0


@given(st.lists(terms, max_size=5))
def test_an_error_beats_pending_and_both_beat_values(given: Sequence[Term[object]]) -> None:
    together, *each = results(all_(given), *given)
    assert rank(together) == max(map(rank, each), default=0)
    if isinstance(together, Ok):
        assert together.value == tuple(one.value for one in each if isinstance(one, Ok))


@given(st.lists(terms, min_size=1, max_size=5))
def test_the_order_of_terms_decides_no_more_than_which_reason_is_shown(
    given: Sequence[Term[object]],
) -> None:
    forwards, backwards = results(all_(given), all_(list(reversed(given))))
    assert rank(forwards) == rank(backwards)


@given(terms, terms)
def test_a_pair_is_all_of_two(first: Term[object], second: Term[object]) -> None:
    one, other = results(pair(first, second), all_([first, second]))
    assert one == other


@given(terms, st.lists(terms, max_size=3))
def test_a_gate_lets_the_value_through_or_nothing(
    value: Term[object], conditions: Sequence[Term[object]]
) -> None:
    gated, given, *others = results(gate(value, *conditions), value, *conditions)
    assert rank(gated) == max(map(rank, [given, *others]))
    if isinstance(gated, Ok):
        assert gated == given


@given(terms)
def test_state_never_fails_and_catch_only_waits(term: Term[object]) -> None:
    plain, stated, caught = results(term, state(term), catch(term))
    assert stated == Ok(plain)
    assert caught == (plain if isinstance(plain, Pending) else Ok(plain))


@given(terms)
def test_map_and_bind_obey_their_laws(term: Term[object]) -> None:
    plain, identity, unit, left, right = results(
        term,
        term.map(lambda value: value),
        term.bind(return_),
        term.map(str).map(len),
        term.map(lambda value: len(str(value))),
    )
    assert plain == identity
    assert rank(plain) == rank(unit)
    assert not isinstance(plain, Ok) or plain == unit
    assert left == right


@given(st.dictionaries(st.sampled_from("abc"), terms, min_size=1))
def test_graphs_are_in_order_with_ids_of_their_own(jobs: dict[str, Term[object]]) -> None:
    evaluation = evaluate(jobs, Facts(), MAIN)
    seen: set[str] = set()
    for node in evaluation.nodes:
        assert node.id not in seen
        assert seen.issuperset(node.inputs)
        seen.add(node.id)
    assert seen.issuperset(node.id for node in Graph.of(jobs).nodes)
    assert {job for node in evaluation.nodes for job in node.jobs} == set(jobs)
    assert evaluate(jobs, Facts(), MAIN).outputs == evaluation.outputs


# Pipelines of stages, and a world that answers whatever is asked, in any order.

SOURCE = TargetTerms(MAIN).source


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Term[Tree]]:
    """Up to eight stages; each uses earlier ones, through gates and joins."""
    made: list[Term[Tree]] = [SOURCE]
    for number in range(draw(st.integers(1, 8))):
        earlier = st.sampled_from(made)
        given = draw(earlier)
        match draw(st.sampled_from(["plain", "gate", "join"])):
            case "gate":
                given = gate(given, draw(earlier))
            case "join":
                given = join({"": given, "more": draw(earlier)})
            case _:
                pass
        made.append(shell(f"s{number}", f"echo {number}")(given))
    return {f"job{number}": term for number, term in enumerate(made[1:])}


def answer(need: object, facts: Facts, fate: st.DataObject) -> None:
    match need:
        case TargetHead():
            facts.record(need, commit_id(1))
        case TreeOf():
            facts.record(need, tree_id(1))
        case Joined(parts=parts):
            facts.record(need, tree_id(1000 + sum(int(tree, 16) for _, tree in parts)))
        case Build():
            name = build_id(need)
            passed = BuildFact.passed(tree_id(int(need.spec.name[1:]) + 10), name)
            others = [BuildFact.failed("exit status 1", name), BuildFact.running(name)]
            facts.record(need, fate.draw(st.sampled_from([passed, passed, *others])))
        case _:
            raise AssertionError(f"nobody asks {need}")


def settled(jobs: dict[str, Term[Tree]], facts: Facts, fate: st.DataObject) -> Evaluation:
    """Answer one need at a time until there is none."""
    graph = Graph.of(jobs)
    for _ in range(200):
        evaluation = evaluate(graph, facts, MAIN)
        if not evaluation.needs:
            return evaluation
        need = fate.draw(st.sampled_from(sorted(evaluation.needs, key=repr)))
        answer(need, facts, fate)
    raise AssertionError("an evaluation never stops asking")


@given(pipelines(), st.data())
def test_a_pipeline_asks_until_it_is_settled(
    jobs: dict[str, Term[Tree]], fate: st.DataObject
) -> None:
    facts = Facts()
    evaluation = settled(jobs, facts, fate)
    failed = {node.id for node in evaluation.nodes if node.status is Status.FAILURE}
    for node in evaluation.nodes:
        if node.status is Status.BLOCKED:
            assert failed
            assert node.reason.endswith(" failed")
    for job in evaluation.jobs:
        behind = [facts.get(need) for need in evaluation.builds if build_id(need) in job.builds]
        if job.status is Status.SUCCESS:
            assert len(job.builds) == len(set(job.builds)) == len(behind)
            assert job.builds[-1].stage == f"s{job.name[3:]}"
        if job.status is Status.BLOCKED:
            assert job.builds[-1].stage != f"s{job.name[3:]}"


@given(pipelines(), st.data())
def test_the_order_of_answers_does_not_matter(
    jobs: dict[str, Term[Tree]], fate: st.DataObject
) -> None:
    facts = Facts()
    evaluation = settled(jobs, facts, fate)
    assert evaluate(jobs, facts, MAIN) == evaluation


@given(st.text(min_size=1).filter(str.strip), st.sampled_from(["heads", "tags", "pr"]))
def test_a_target_that_is_gone_blocks_every_stage(name: str, kind: str) -> None:
    target = Target("me/app", kind, name)
    facts = Facts({TargetHead(target): None})
    jobs = {"lint": shell("lint", "x")(TargetTerms(target).source)}
    (job,) = evaluate(jobs, facts, target).jobs
    assert job.status is Status.BLOCKED
    assert job.description == f"{target.short} failed"
