"""Plays: the pure parts together, from a commit to an explained result, without any engine.

What the engine has to do, and the story that steps through it with a clock that is only a value:

- terms, a failure and what it blocks, graphs that grow: ``success failure bind matrix`` (in
  ``test_evaluate`` and ``test_stories``);
- stages, schedules, latches, levels: ``schedule latch deployment decisions flow``;
- traces, early cutoff and why: ``chain looks``; results made again and let go: ``results``;
- targets that come, move and go: ``targets``; pools, locks and priority: ``queues``;
- what people decide: ``control``; other repositories: ``elsewhere``.

Golden files are read before they are committed; ``UPDATE_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from datakit_ci import TargetTerms, Term, join, shell
from datakit_ci.need import Fetched, IsAfter, Joined, TreeOf
from datakit_ci.plugins.git import Remote, is_after
from datakit_ci.retention import Retention
from datakit_ci.target import Target
from tests.support.play import Files, Play, Seen
from tests.support.story import MAIN, commit_id

Jobs = Mapping[str, Term[object]]

OTHER = Target("me/app", "heads", "other")
PULL = Target("me/app", "pr", "7")
LIBRARY = Target("you/lib", "heads", "main")

first, second, third = (shell(name, f"run {name}") for name in ("first", "second", "third"))


def chain(target: TargetTerms) -> Jobs:
    return {"all": third(second(first(target.source)))}


def words(seen: Seen) -> Files:
    """Depends on the words in a file, not on the spaces between them."""
    return {"words": " ".join(seen.read("text").split())}


def count(seen: Seen) -> Files | str:
    number = len(seen.read("words").split())
    return {"count": str(number)} if number else "there are no words"


def test_only_what_looked_at_something_else_runs_again() -> None:
    play = Play(chain, {"first": words, "second": count})
    play.head(MAIN, {"text": "one two", "README": "a"})
    play.tell("the first commit: nothing is known")
    for stage in ("first", "second", "third"):
        play.ends(stage)
    play.tell("one after the other")
    play.head(MAIN, {"text": "one two", "README": "b"})
    play.tell("a commit that touches what nobody looks at: nothing runs")
    play.head(MAIN, {"text": "one   two", "README": "b"})
    play.ends("first")
    play.tell("other bytes and an equal output: what follows does not run")
    play.head(MAIN, {"text": "", "README": "b"})
    play.ends("first")
    play.ends("second")
    play.tell("a failure blocks what follows")
    play.head(MAIN, {"text": "one two", "README": "a"})
    play.tell("a revert: nothing runs")
    play.head(OTHER, {"text": "", "README": "c"})
    play.tell("a branch with the text that fails: the failure is shown, and nothing runs")
    play.compare("chain")


def test_questions_that_find_nothing_count_as_well() -> None:
    def licences(seen: Seen) -> Files | str:
        missing = [path for path in seen.glob(".py") if not seen.exists(f"{path}.licence")]
        return f"no licence: {', '.join(missing)}" if missing else {"ok": "ok"}

    play = Play(lambda target: {"licences": first(target.source)}, {"first": licences})
    play.head(MAIN, {"a.py": "1", "a.py.licence": "MIT"})
    play.ends("first")
    play.tell("it has looked for files")
    play.head(MAIN, {"a.py": "2", "a.py.licence": "BSD", "b.txt": ""})
    play.tell("other contents and another file: nothing that it asked for")
    play.head(MAIN, {"a.py": "2", "a.py.licence": "BSD", "b.py": ""})
    play.ends("first")
    play.tell("a file that the pattern finds")
    play.head(MAIN, {"a.py": "2", "a.py.licence": "BSD", "b.py": "", "b.py.licence": "MIT"})
    play.ends("first")
    play.tell("what was looked for in vain is there")
    play.compare("looks")


def test_results_expire_are_made_again_on_the_same_key_and_are_let_go() -> None:
    unit = shell("unit", "pytest", valid_for="1d")
    play = Play(lambda target: {"unit": unit(target.source)})
    play.head(MAIN, {"a": "1"})
    play.ends("unit")
    play.tell("a result")
    play.rule("rebuilt", "unit")
    play.later(minutes=5)
    play.ends("unit")
    play.tell("somebody wants it once more")
    play.later(hours=25)
    play.tell("it has expired")
    play.ends("unit")
    play.later(hours=1)
    play.head(MAIN, {"a": "2"})
    play.ends("unit")
    play.tell("another commit")
    play.prune(Retention(keep=1))
    play.tell("one result of a stage is kept")
    play.head(MAIN, {"a": "1"})
    play.tell("what was let go runs again")
    play.compare("results")


def test_targets_share_builds_and_end_what_nobody_wants_any_more() -> None:
    unit = shell("unit", "pytest")
    play = Play(lambda target: {"unit": unit(target.source)})
    play.head(MAIN, {"a": "1"})
    play.head(PULL, {"a": "1"})
    play.tell("two targets want the same: one build")
    play.delete(PULL)
    play.tell("one of them is gone: the build goes on")
    play.head(MAIN, {"a": "2"})
    play.tell("the other has moved on: the old build is stopped")
    play.head(MAIN, {"a": "1"})
    play.tell("it comes back while the old build is still ending")
    play.compare("targets")


def test_pools_locks_and_priority_say_who_is_next_and_why() -> None:
    small = shell("small", "small")
    urgent = shell("urgent", "urgent", priority=1)
    deploy = shell("deploy", "deploy", locks=["www"])

    def jobs(target: TargetTerms) -> Jobs:
        source = target.source
        return {"small": small(source), "deploy": deploy(source), "urgent": urgent(source)}

    play = Play(jobs, pools={"cpu": 2})
    play.head(MAIN, {"a": "1"})
    play.tell("two places, three builds")
    play.head(LIBRARY, {"a": "1"})
    play.tell("another project comes")
    play.ends("small")
    play.tell("the highest priority goes first")
    play.ends("deploy")
    play.tell("the lock is free")
    play.compare("queues")


def test_people_cancel_pause_and_confirm() -> None:
    unit = shell("unit", "pytest")
    deploy = shell("deploy", "deploy", level="dangerous")
    play = Play(lambda target: {"unit": unit(target.source), "deploy": deploy(target.source)})
    play.head(MAIN, {"a": "1"})
    play.tell("a dangerous stage waits for a person")
    play.rule("cancelled", "unit")
    play.tell("a person cancels what runs")
    play.stopped("unit")
    play.tell("its processes are gone; it is not started again")
    play.pause("me/app")
    play.rule("confirmed", "deploy")
    play.tell("confirmed, but the project is paused")
    play.resume()
    play.tell("it goes on")
    play.ends("deploy")
    play.head(MAIN, {"a": "2"})
    play.tell("another commit has to be confirmed anew")
    play.compare("control")


def test_what_is_in_other_repositories_is_an_input_like_any_other() -> None:
    tools = Remote("https://user:secret@example.org/tools.git", every="5m")
    unit = shell("unit", "tools/unit", inputs=["src", "tools"])

    def jobs(target: TargetTerms) -> Jobs:
        source = join({"": target.source, "tools": tools.tree("refs/heads/stable")})
        ahead = is_after(target.head, tools.tag("v1"))
        return {"unit": unit(source), "ahead": ahead}

    play = Play(jobs)
    ref, tag = (Fetched(tools.url, f"refs/{name}", 300.0) for name in ("heads/stable", "tags/v1"))

    def joined(*parts: Files) -> None:
        paths = zip(("", "tools"), (play.tree(part) for part in parts), strict=True)
        together = {**parts[0], **{f"tools/{path}": text for path, text in parts[1].items()}}
        play.know(Joined(tuple(paths)), play.tree(together))

    play.head(MAIN, {"src/a": "1"})
    play.tell("the other repository is being fetched")
    for need, commit in ((ref, commit_id(10)), (tag, commit_id(11))):
        play.know(need, commit)
    play.know(TreeOf(commit_id(10)), play.tree({"unit": "v1"}))
    joined({"src/a": "1"}, {"unit": "v1"})
    play.know(IsAfter(commit_id(1), commit_id(11)), True)
    play.tell("both are known")
    play.ends("unit")
    play.know(ref, commit_id(12))
    play.know(TreeOf(commit_id(12)), play.tree({"unit": "v2"}))
    joined({"src/a": "1"}, {"unit": "v2"})
    play.tell("the branch has moved")
    play.ends("unit")
    play.tell("and why it ran")
    play.compare("elsewhere")
