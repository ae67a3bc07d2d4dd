"""The pipeline that tests this repository with itself: our first user and reference example.

Every stage names its inputs, so a commit runs only the stages that could notice it. Nothing here
starts the service: the pipeline must not test itself for ever.
"""

from __future__ import annotations

import json

from datakit_ci import Config, Project, TargetTerms, Term, Tree, gate, shell, stage

SOURCES = ["datakit_core", "datakit_ci", "self_ci", "tests", "bench", "examples", "pyproject.toml"]
PACKAGES = ["datakit_core", "datakit_ci", "web", "pyproject.toml", "README.md", "LICENSE"]
PROSE = ["README.md", "CHANGELOG.md", "docs"]

lint = shell("lint", "ruff format --check . && ruff check .", inputs=SOURCES)
contracts = shell("contracts", "lint-imports --no-cache", inputs=SOURCES)
types = shell("types", "mypy", inputs=SOURCES, timeout="15m")
unit = shell(
    "unit",
    "python -m pytest tests/unit tests/property --quiet -p no:cacheprovider --junitxml=report.xml",
    inputs=[*SOURCES, "web"],
    outputs=["report.xml"],
    reports=["report.xml"],
    timeout="15m",
)
documents = shell(
    "documents",
    "codespell && python -m pytest tests/integration/test_docs.py --quiet -p no:cacheprovider",
    inputs=[*SOURCES, *PROSE],
)
wheel = shell(
    "wheel",
    "python -m pip wheel . --no-deps --no-build-isolation --disable-pip-version-check -w dist",
    inputs=PACKAGES,
    outputs=["dist"],
)
install = shell(
    "install",
    "python -m pip install --quiet --disable-pip-version-check --no-deps --target site dist/*.whl"
    " && cd site && python -m datakit_core.cli --version && python -m datakit_ci --version",
    inputs=["dist"],
)


@stage(inputs=["datakit_core", "datakit_ci"])
async def sizes(source: Tree) -> Tree:
    """Count the lines of every module, so that their growth is in the history."""
    lines = {path: (await source.read(path)).count(b"\n") async for path in source.glob("**/*.py")}
    return Tree.from_files({"sizes.json": json.dumps(lines, indent=1, sort_keys=True) + "\n"})


def jobs(target: TargetTerms) -> dict[str, Term[Tree]]:
    """The jobs of one branch or tag: what is cheap gates what is not."""
    source = target.source
    linted = lint(source)
    built = wheel(source)
    return {
        "lint": linted,
        "types": types(source),
        "contracts": contracts(source),
        "documents": documents(source),
        "unit": unit(gate(source, linted)),
        "wheel": built,
        "install": install(built),
        "sizes": sizes(source),
    }


config = Config(projects=[Project("datakit/datakit", jobs, dashboards=["main"])])
