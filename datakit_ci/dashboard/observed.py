"""What a build looked at: its questions and their answers, and which have another answer now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from datakit_ci.archive import Dossier
from datakit_ci.canonical import JsonValue
from datakit_ci.dashboard.addressed import number_in
from datakit_ci.dashboard.found import BUILD, find_dossier
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source
from datakit_ci.explanation import Explanation
from datakit_ci.question import QuestionKind
from datakit_ci.trace import Observation

__all__ = ["ROUTES", "Seen", "Sight", "look_at", "show_observations", "sight_of"]

_PAGE = 300
"""Questions on one page."""

_FEW = 8
"""Names of a list that are told one by one."""

_DIGITS = 10

_KINDS: Final = {"F": "a file", "X": "a program", "D": "a directory", "L": "a link"}

_WORDS: Final = {
    QuestionKind.FILE: "file",
    QuestionKind.KIND: "kind",
    QuestionKind.STAT: "size",
    QuestionKind.LIST: "list",
    QuestionKind.GLOB: "pattern",
    QuestionKind.TREE: "tree",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One question with its answer, for people.

    Attributes:
        word: What was asked.
        path: Of which path, or the pattern.
        answer: What the build was answered.
        before: What the result before it was answered, if that is something else.
        is_path: Whether ``path`` names something in the input.
    """

    word: str
    path: str
    answer: str
    before: str | None = None
    is_path: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """All that a build looked at.

    Attributes:
        seen: What has changed first, otherwise in the order in which it asked.
        changed: How many have another answer than at the result before.
        counts: How many of what, in words, the most first.
    """

    seen: tuple[Seen, ...]
    changed: int
    counts: tuple[tuple[str, int], ...]


def look_at(
    observations: Sequence[Observation], before: Sequence[Observation] | None = None
) -> Sight:
    """Put what a build looked at in order; ``before`` is what the result before it saw."""
    earlier = {each.question: each.answer for each in before or ()}
    seen = []
    for each in observations:
        question = each.question
        is_other = question in earlier and earlier[question] != each.answer
        seen.append(
            Seen(
                _WORDS[question.kind],
                question.path,
                told(each.answer),
                told(earlier[question]) if is_other else None,
                question.kind is not QuestionKind.GLOB and each.answer is not None,
            )
        )
    changed = [each for each in seen if each.before is not None]
    counts = Counter(each.word for each in seen)
    rest = (each for each in seen if each.before is None)
    return Sight((*changed, *rest), len(changed), tuple(counts.most_common()))


def told(answer: JsonValue) -> str:
    """An answer in words."""
    match answer:
        case None:
            return "absent"
        case [str(mode), str(id_)] if mode in _KINDS and len(id_) == 40:
            return f"{'' if mode == 'F' else _KINDS[mode] + ' '}{id_[:_DIGITS]}"
        case str(kind):
            return _KINDS.get(kind, kind)
        case []:
            return "nothing"
        case [*items]:
            names = ", ".join(_name(item) for item in items[:_FEW])
            return f"{names} and {len(items) - _FEW} more" if len(items) > _FEW else names
        case {"count": count}:
            return f"{count} names"
        case _:
            return str(answer)


def _name(item: JsonValue) -> str:
    match item:
        case [str(name), "D"]:
            return f"{name}/"
        case [str(name), *_]:
            return name
        case _:
            return str(item)


async def sight_of(source: Source, dossier: Dossier, why: Explanation | None) -> Sight | None:
    """What a build looked at, beside the result that ``why`` compares it with; none: not known."""
    observations = await dossier.observe()
    if observations is None:
        return None
    before = None
    if why is not None and why.before is not None:
        earlier = await source.dossier(why.before)
        before = None if earlier is None else await earlier.observe()
    return look_at(observations, before)


async def show_observations(request: web.Request) -> web.Response:
    """All that a build looked at, in pages, with a search."""
    dossier = await find_dossier(request)
    build = dossier.state
    source = source_of(request)
    why = await source.why_build(build.id)
    sight = await sight_of(source, dossier, why)
    if sight is None:
        raise web.HTTPNotFound(text="It is not recorded what this build looked at.")
    search = request.query.get("q", "")[:200].strip()
    words = search.casefold().split()
    found = [
        each
        for each in sight.seen
        if all(word in f"{each.word} {each.path}".casefold() for word in words)
    ]
    pages = max(1, -(-len(found) // _PAGE))
    page = min(number_in(request, "page"), pages)
    return request.app[PAGES].page(
        "observations.html",
        build=build,
        why=why,
        sight=sight,
        seen=found[(page - 1) * _PAGE : page * _PAGE],
        found=len(found),
        search=search,
        current=page,
        pages=pages,
    )


ROUTES: Final = (read(BUILD + "/observations", show_observations),)
"""The address of what a build looked at."""
