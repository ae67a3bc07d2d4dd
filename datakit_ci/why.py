"""Why a build ran, or did not: worked out from recorded facts.

Pure: the facts come in as values, from an engine or from nothing but a database
(:mod:`datakit_ci.inquiry`), and an explanation goes out. What waits is explained by
:mod:`datakit_ci.hindrances`.

A build runs because no earlier result answers its questions. So the answer to "why did it run" is
how the nearest earlier result differs: another answer to a question that both asked, or another
stage. Questions that only one of them asked follow from an answer that differed before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from datakit_ci.canonical import JsonValue
from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.occasion import Cause, Occasion
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import BuildId
from datakit_ci.trace import Observation

__all__ = ["Run", "why_it_ran", "why_it_served"]

_MOST = 20
"""Changes that are told one by one."""

_DIGITS = 7

_GIVEN = "given"
"""Stands for the value of what is only there or not."""


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run, as far as it matters here.

    Attributes:
        build: Which.
        started: When, UTC.
        command: The command or function.
        occasion: What was recorded of why it ran; none: by an old version.
        observations: What it looked at; none if that is not recorded.
    """

    build: BuildId
    started: datetime | None
    command: str = ""
    occasion: Occasion | None = None
    observations: Sequence[Observation] | None = None


def why_it_ran(run: Run, before: Run | None, *, removed: bool = False) -> Explanation:
    """Why ``run`` was made.

    Args:
        run: The run.
        before: The nearest earlier result: of the same target, else of the same stage.
        removed: Whether the very result had been there, and was not kept.
    """
    reasons = tuple(_causes(run, before, removed=removed))
    return Explanation(
        run.build.stage, Verdict.RAN, reasons, run.build, None if before is None else before.build
    )


def _causes(run: Run, before: Run | None, *, removed: bool) -> Iterator[Reason]:
    occasion = run.occasion
    match None if occasion is None else occasion.cause:
        case Cause.REBUILD:
            assert occasion is not None
            yield Reason(
                ReasonKind.REBUILD, f"rebuild by {occasion.user or 'somebody'}", user=occasion.user
            )
        case Cause.EXPIRED:
            yield Reason(ReasonKind.EXPIRED, "the earlier result had expired (valid_for)")
        case Cause.SCHEDULE:
            yield Reason(ReasonKind.SCHEDULE, "its schedule said so (every)")
        case Cause.TRANSIENT:
            text = "the earlier failure is of a kind that passes (transient)"
            yield Reason(ReasonKind.TRANSIENT, text)
        case Cause.NEW | None if removed:
            text = "the earlier result was removed, by retention or by hand"
            yield Reason(ReasonKind.REMOVED, text)
        case Cause.NEW | None:
            yield from _news(run, before)


def _news(run: Run, before: Run | None) -> Iterator[Reason]:
    """Why no earlier result answered: how the nearest one differs."""
    if before is None:
        yield Reason(ReasonKind.FIRST, "no earlier result of this stage is known")
    elif before.build.static != run.build.static:
        yield from _other_stage(before, run)
    else:
        found = list(_differences(before.observations or (), run.observations or ()))
        yield from found[:_MOST]
        if len(found) > _MOST:
            yield Reason(ReasonKind.OBSERVATION, f"and {len(found) - _MOST} further changes")
        if not found:
            text = "what it looked at is not recorded, or not for the result before it"
            yield Reason(ReasonKind.UNKNOWN, text)


_VARIABLE = "variable"

_PARTS = {
    "parameters": "parameter",
    "env": _VARIABLE,
    "inputs": "declared input",
    "outputs": "output",
    "reports": "report",
    "tools": "tool",
    "conditions": "condition",
    "image": "image",
}


def _other_stage(before: Run, run: Run) -> Iterator[Reason]:
    """Which part of the stage is another one."""
    found: list[Reason] = []
    if before.command != run.command:
        found.append(_stage("command", before.command, run.command))
    old = before.occasion.identity if before.occasion else {}
    new = run.occasion.identity if run.occasion else {}
    for part, word in _PARTS.items():
        if old and new and old.get(part) != new.get(part):
            found.extend(_part(word, old.get(part), new.get(part)))
    was, now = (str(each.get("fingerprint", ""))[:_DIGITS] for each in (old, new))
    if old and new and not found and was != now:
        text = "its code, or what it is made with, has changed"
        text = f"{text}: {was} to {now}"
        found.append(Reason(ReasonKind.STAGE, text, "code", was, now))
    if not found:
        text = "the stage has changed: its code, parameters or environment"
        found.append(Reason(ReasonKind.STAGE, text, "stage"))
    yield from found


def _part(word: str, old: JsonValue, new: JsonValue) -> Iterator[Reason]:
    """A part that is a mapping or a list by its items, else as a whole."""
    before, after = _items(old), _items(new)
    if word == _VARIABLE and before is not None and after is not None:
        yield from _variables(before, after)
        return
    if before is None or after is None:
        yield _stage(word, _shown(old), _shown(new))
        return
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield _stage(f"{word} {name}", before.get(name, ""), after.get(name, ""))


def _variables(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Reason]:
    """Which variables came, went, or have another value; old records have only their names."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, ""), after.get(name, "")
        subject = f"{_VARIABLE} {name}"
        if old and new and old != new and _GIVEN not in (old, new):
            yield Reason(ReasonKind.STAGE, f"{subject} has another value", subject, old, new)
        elif not old or not new:
            yield Reason(
                ReasonKind.STAGE, f"{subject} is {'new' if new else 'gone'}", subject, old, new
            )


def _items(value: JsonValue) -> dict[str, str] | None:
    """A mapping, or a list of names or pairs, as text by name."""
    if isinstance(value, Mapping):
        return {str(name): _shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return dict(_pair(each) for each in value)
    return None


def _pair(value: JsonValue) -> tuple[str, str]:
    """A name with its value; a name alone is only there or not."""
    match value:
        case [str(name), other] | (str(name), other):
            return name, str(other)
        case _:
            return str(value), _GIVEN


def _stage(subject: str, old: str, new: str) -> Reason:
    return Reason(ReasonKind.STAGE, _changed(subject, old, new), subject, old, new)


def _changed(subject: str, old: str, new: str) -> str:
    if _GIVEN in (old, new):
        return f"{subject} is new" if new else f"{subject} is gone"
    if old and new:
        return f"{subject} changed from {old} to {new}"
    return f"{subject} is new: {new}" if new else f"{subject} is gone; it was {old}"


def _shown(value: JsonValue) -> str:
    return "" if value in (None, "", {}, []) else json.dumps(value)


def _differences(old: Sequence[Observation], new: Sequence[Observation]) -> Iterator[Reason]:
    """How the answers differ to the questions that both have asked."""
    before = {each.question: each.answer for each in old}
    for seen in new:
        if seen.question in before and before[seen.question] != seen.answer:
            yield _difference(seen.question, before[seen.question], seen.answer)


def _difference(question: Question, old: JsonValue, new: JsonValue) -> Reason:
    path = question.path or "the input"
    match question.kind:
        case QuestionKind.GLOB | QuestionKind.LIST:
            subject = f"{question.kind.value} {question.path or '/'}"
            text = f"{subject}: {_list_change(old, new)}"
            return Reason(ReasonKind.OBSERVATION, text, question.path, _brief(old), _brief(new))
        case QuestionKind.FILE | QuestionKind.TREE | QuestionKind.KIND | QuestionKind.STAT:
            before, after = _answer(old), _answer(new)
            if not old or not new:
                text = f"{path} is new" if new else f"{path} is gone"
            else:
                text = f"{path} changed from {before} to {after}"
            return Reason(ReasonKind.OBSERVATION, text, question.path, before, after)


def _answer(value: JsonValue) -> str:
    """An answer about one path: an id, with the kind where that says more."""
    words = {"D": "a directory", "F": "a file", "L": "a link", "X": "an executable"}
    match value:
        case None:
            return "absent"
        case [str(mode), str(id_)]:
            return id_[:_DIGITS] if mode in "FD" else f"{words.get(mode, mode)} {id_[:_DIGITS]}"
        case str():
            return words.get(value, value)
        case _:
            return json.dumps(value)


def _list_change(old: JsonValue, new: JsonValue) -> str:
    """``+ docs/new.md, - docs/old.md``."""
    if not isinstance(old, list) or not isinstance(new, list):
        return f"{_brief(old)} to {_brief(new)}"
    before, after = ({_item(each) for each in side} for side in (old, new))
    signs = [(name, "+") for name in after - before] + [(name, "-") for name in before - after]
    return ", ".join(f"{sign} {name}" for name, sign in sorted(signs)) or "another order"


def _item(item: JsonValue) -> str:
    match item:
        case [str(path), "F"]:
            return path
        case [str(path), "D"]:
            return f"{path}/"
        case _:
            return json.dumps(item)


def _brief(value: JsonValue) -> str:
    match value:
        case list():
            return f"{len(value)} paths"
        case {"count": int(count)}:
            return f"{count} paths"
        case _:
            return _answer(value)


def why_it_served(run: Run, when: str) -> Explanation:
    """Why nothing ran: ``run``, which was made at ``when`` for somebody else, will do."""
    targets = run.occasion.targets if run.occasion else ()
    for_whom = f" for {targets[0][0]} at {targets[0][1][:_DIGITS]}" if targets else ""
    count = len(run.observations or ())
    what = f"all {count} things that it looked at are" if count > 1 else "what it looked at is"
    text = f"the result of {when}{for_whom} will do: {what} the same"
    reason = Reason(ReasonKind.SERVED, text, builds=(run.build,))
    return Explanation(run.build.stage, Verdict.SERVED, (reason,), run.build)
