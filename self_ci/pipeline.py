"""The pipeline that tests this repository with itself: our first user and reference example.

A commit runs only the stages that could notice it: a command names its inputs, and what a function
looks at is traced. Commands run in a sandbox where there is one, so that nothing but the commit can
make them pass. Nothing here starts the service: the pipeline must not test itself for ever.
"""

from __future__ import annotations

import json
import posixpath
import re

from datakit_ci import (
    Config,
    Project,
    StageFailed,
    TargetTerms,
    Term,
    Tree,
    everyone,
    gate,
    logged_in,
    matrix,
    shell,
    stage,
)
from datakit_ci.plugins import docker

CODE = ["datakit_core", "datakit_ci", "self_ci", "tests", "bench", "examples", "scripts"]
SOURCES = [*CODE, "pyproject.toml"]
PACKAGES = ["datakit_core", "datakit_ci", "web", "pyproject.toml", "README.md", "LICENSE"]
PROSE = ["README.md", "CHANGELOG.md", "docs"]

lint = shell("lint", "ruff format --check . && ruff check .", inputs=SOURCES, sandbox="auto")
contracts = shell("contracts", "lint-imports --no-cache", inputs=SOURCES, sandbox="auto")
types = matrix(
    shell(
        "types",
        'mypy --python-version "$PYTHON"',
        inputs=SOURCES,
        timeout="15m",
        sandbox="auto",
    ),
    PYTHON=["3.11", "3.13"],
)
tests = matrix(
    shell(
        "tests",
        'python -m pytest "tests/$SUITE" --quiet -p no:cacheprovider --junitxml=report.xml',
        inputs=[*SOURCES, "web"],
        reports=["report.xml"],  # and no output: times are in it
        timeout="15m",
    ),
    SUITE=["unit", "property"],
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
    sandbox="auto",
)
install = shell(
    "install",
    "python -m pip install --quiet --disable-pip-version-check --no-deps --target site dist/*.whl"
    " && cd site && python -m datakit_core.cli --version && python -m datakit_ci --version",
    inputs=["dist"],
    sandbox="auto",
)


@stage
async def sizes(source: Tree) -> Tree:
    """Count the lines of every module, so that their growth is in the history."""
    lines = {
        path: (await source.read(path)).count(b"\n")
        async for path in source.glob("datakit_c*/**/*.py")
    }
    return Tree.from_files({"sizes.json": json.dumps(lines, indent=1, sort_keys=True) + "\n"})


@stage
async def links(source: Tree) -> Tree:
    """Fail if a page links to a file that is not there; of that file, only this is looked at."""
    pages = ["README.md", *[path async for path in source.glob("docs/*.md")]]
    broken = []
    for page in pages:
        text = (await source.read(page)).decode()
        for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", text):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
            if not await source.exists(path):
                broken.append(f"{page}: {link}")
    if broken:
        raise StageFailed("broken links: " + ", ".join(broken))
    return Tree.from_files({})


def images(source: Term[Tree]) -> dict[str, Term[Tree]]:
    """The images, each from the one that it adds to; pending where there is no container engine."""
    base = docker.published("python:3.12-slim-bookworm")
    db = docker.build(source, dockerfile="Dockerfile.db", from_=base)
    ci = docker.build(source, dockerfile="Dockerfile.ci", from_=base)
    upon_ci = {
        f"image/{name}": docker.build(
            source, dockerfile=f"docker/Dockerfile.{name}", from_={"CI": ci}
        )
        for name in ("bridge-github", "bridge-local-git", "self-ci")
    }
    client = docker.build(source, dockerfile="docker/Dockerfile.client", from_={"DB": db})
    return {"image/db": db, "image/ci": ci, "image/client": client, **upon_ci}


def jobs(target: TargetTerms) -> dict[str, Term[Tree]]:
    """The jobs of one branch or tag: what is cheap gates what is not."""
    source = target.source
    linted = lint(source)
    built = wheel(source)
    return {
        "lint": linted,
        **types.jobs(source),
        "contracts": contracts(source),
        "documents": documents(source),
        "links": links(source),
        **tests.jobs(gate(source, linted)),
        "wheel": built,
        "install": install(built),
        "sizes": sizes(source),
        **images(source),
    }


config = Config(
    projects=[Project("datakit/datakit", jobs, dashboards=["main"])],
    can_read=everyone,
    can_build=logged_in(""),
)
