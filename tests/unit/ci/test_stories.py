"""Stories of pipelines with schedules, latches, other CIs and matrices; time comes as facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from datakit_ci import (
    TargetTerms,
    Term,
    catch,
    ci_success_target_url,
    gate,
    matrix,
    pending,
    shell,
    wait_for_all,
    without_logs,
)
from datakit_ci.metadata import CommitStatus
from datakit_ci.need import Build, BuildFact, LastMoment, LastOutput, StatusOf
from datakit_ci.state import Status
from tests.support.story import Story, build_id, commit_id, tree_id

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
ONE = datetime(2026, 3, 4, 13, tzinfo=UTC)

audit = shell("audit", "pip-audit", every="1h")
site = shell("site", "make site", latched=True)
check = shell("check", "linkcheck")
deploy = shell("deploy", "deploy", level="dangerous")
unit = shell("unit", "pytest")


def last_output(story: Story) -> LastOutput:
    (need,) = [need for need in story.look().asked if isinstance(need, LastOutput)]
    return need


def test_a_schedule_asks_for_a_newer_result_at_each_moment() -> None:
    story = Story(lambda target: {"audit": audit(target.source)})
    story.head(1)
    story.tell("the head is known, the time is not")
    story.facts.record(LastMoment("1h"), NOON)
    assert story.build("audit").since == NOON
    story.passes("audit", 10)
    story.tell("noon: it has passed")
    story.facts.record(LastMoment("1h"), ONE)
    assert story.build("audit").since == ONE
    story.tell("one o'clock: a newer result is asked for")
    story.facts.record(
        story.build("audit"),
        BuildFact(Status.RUNNING, "running", build=build_id(story.build("audit"))),
    )
    story.tell("it runs again")
    story.passes("audit", 10)
    story.tell("with the same output")
    story.compare("schedule")


def test_a_latch_shows_the_last_output_until_there_is_a_new_one_or_a_failure() -> None:
    story = Story(lambda target: {"site": site(target.source), "check": check(site(target.source))})
    story.head(1)
    story.runs("site")
    story.facts.record(last_output(story), None)
    story.tell("it runs for the first time: there is no old output")
    story.passes("site", 10)
    story.passes("check", 11)
    story.tell("all has passed")
    story.head(2)
    story.runs("site")
    story.facts.record(last_output(story), tree_id(10))
    story.tell("a new head: what follows uses the old output")
    story.fails("site", "exit status 1")
    story.tell("a failure is shown at once")
    story.head(3)
    story.facts.record(
        story.build("site"),
        BuildFact(
            Status.RUNNING,
            "running",
            build=build_id(story.build("site")),
            previous=tree_id(12),
        ),
    )
    story.tell("a result that is made anew for the same input is used first")
    story.compare("latch")


def test_a_deployment_waits_for_another_ci_and_for_a_person() -> None:
    context = "ci/other/build"

    def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
        source = target.source
        allowed = ci_success_target_url(context, target.target)
        return {"deploy": deploy(gate(source, allowed, unit(source))), "unit": unit(source)}

    story = Story(jobs)
    status = StatusOf("me/app", commit_id(1), context)
    story.head(1)
    story.facts.record(status, None)
    story.runs("unit")
    story.tell("the other CI has said nothing yet")
    story.facts.record(status, CommitStatus("success", "fine", "http://other/1"))
    story.tell("the other CI has passed")
    story.passes("unit", 10)
    story.waits("deploy", "waits for confirmation by a person")
    story.tell("a person has to confirm")
    story.runs("deploy")
    story.tell("confirmed")
    story.facts.record(status, CommitStatus("failure", "broken", "http://other/2"))
    story.tell("the other CI takes it back")
    story.compare("deployment")


def test_cells_of_a_matrix_come_with_a_value_and_go_with_it() -> None:
    def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
        versions = target.head.map(
            lambda head: ["3.11", "3.12"] if head == commit_id(1) else ["3.12"], "versions"
        )
        cells = matrix(unit, PYTHON=versions)(target.source)
        return {
            "unit": cells,
            "verdict": without_logs(catch(cells)),
            "all": wait_for_all({"unit": cells, "later": pending("for better times")}),
        }

    story = Story(jobs)
    story.tell("the versions are not known")
    story.head(1)
    story.tell("two cells")
    for build in sorted(story.look().builds, key=lambda need: need.spec.label):
        story.facts.record(build, fact(build))
    story.tell("one has passed, one has failed")
    story.head(2)
    story.tell("another commit has one version: one cell is gone, the other starts again")
    story.compare("matrix")


def fact(need: Build) -> BuildFact:
    """Python 3.11 fails."""
    if need.spec.arguments["PYTHON"] == "3.11":
        return BuildFact.failed("exit status 1", build_id(need))
    return BuildFact.passed(tree_id(12), build_id(need))
