"""A pipeline that lies in the repository that it tests: a branch changes it for itself.

``datakit-ci check --project me/app ci/pipeline.py`` checks it. ``versions.py`` beside it belongs to
it.
"""

from __future__ import annotations

from collections.abc import Mapping

import versions

from datakit_ci import TargetTerms, Term, Tree, gate, map_list, shell, stage

unit = shell("unit", "$PYTHON -m unittest discover -s tests", inputs=["src", "tests"])
migrate = shell("migrate", "sh migrate.sh", inputs=["migrate.sh"], pool="database")


@stage
async def documented(source: Tree) -> dict[str, str]:
    """List the modules, with whether each begins with a docstring."""
    lines = []
    async for path in source.glob("src/**/*.py"):
        is_documented = (await source.read(path)).startswith(b'"')
        lines.append(f"{path} {'yes' if is_documented else 'no'}\n")
    return {"modules": "".join(lines)}


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    """What is tested of every branch, tag and pull request."""
    source = target.source
    checked = documented(source)
    chosen = target.head.map(lambda head: versions.chosen(target.target.name), "versions")
    return {
        "documented": checked,
        "unit": map_list(chosen, lambda python: unit(gate(source, checked), PYTHON=python)),
        "migrate": migrate(source),
    }
