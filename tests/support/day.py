"""A small company's pipeline and repository, with which tests live through a day.

Nothing in it takes long, and what has to go on until somebody stops it does. Whether the branch
``main`` passes is in its own files; the job ``browser`` needs a server outside of them, so that
it can pass when it is tried again.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.git import git

__all__ = ["PROJECT", "branch", "break_prices", "make_day"]

PROJECT = "acme/shop"

_PIPELINE = """
from datakit_ci import Config, Project, everyone, gate, shell

lint = shell("lint", "echo 12 files are well formed", inputs=["prices"])
unit = shell("unit", "sh ci/unit.sh", inputs=["ci", "prices"], outputs=["made"],
             reports=["report.xml"])
browser = shell("browser", "echo looking for the server; test -e {server} || "
                "{{ echo 'ERROR: no server answers'; exit 1; }}", inputs=["prices"])
soak = shell("soak", "echo soaking; sleep 600", inputs=["prices"])
deploy = shell("deploy", "echo deployed to www", inputs=["made"], level="dangerous")


def jobs(target):
    source = target.source
    if target.target.name == "soak":
        return {{"soak": soak(source)}}
    tested = unit(source)
    found = {{"lint": lint(source), "unit": tested, "browser": browser(source)}}
    if target.target.name == "release":
        found["deploy"] = deploy(tested)
    return found


config = Config(
    projects=[Project("acme/shop", jobs, dashboards=["main"])],
    can_read=everyone,
    can_build=everyone,
)
"""

_UNIT = r"""
set -e
i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo "collected price $i"; done
mkdir -p made
cp prices made/prices
printf '# Prices\n\nThey are *rounded*.\n' > made/notes.md
if grep -q 19.98 prices; then
  cat > report.xml <<'END'
<testsuite><testcase classname="prices" name="rounded" time="0.2"><failure
message="19.98 is not 19.99">assert 19.98 == 19.99</failure></testcase>
<testcase classname="prices" name="listed" time="0.1"/></testsuite>
END
  printf '\033[31mFAILED\033[0m tests/prices.py::rounded - 19.98 is not 19.99\n'
  i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo "tidied up $i"; done
  exit 1
fi
cat > report.xml <<'END'
<testsuite><testcase classname="prices" name="rounded" time="0.2"/>
<testcase classname="prices" name="listed" time="0.1"/></testsuite>
END
echo all prices are right
"""


def make_day(directory: Path) -> tuple[Path, Path, Path]:
    """Make a repository whose ``main`` would pass; it, the pipeline and the server to switch on."""
    repository, pipeline, server = directory / "shop", directory / "pipeline.py", directory / "up"
    pipeline.write_text(_PIPELINE.format(server=server))
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / "ci").mkdir()
    (repository / "ci/unit.sh").write_text(_UNIT)
    server.touch()
    _commit(repository, "19.99", "Begin with one price")
    return repository, pipeline, server


def break_prices(repository: Path) -> str:
    """Commit what makes ``unit`` fail to ``main``; the commit's id."""
    return _commit(repository, "19.98", "Round prices down")


def branch(repository: Path, name: str, price: str) -> str:
    """Make a branch, checked out for this long only; the commit's id."""
    git(repository, "checkout", "-q", "-b", name)
    commit = _commit(repository, price, f"Try the price {price}")
    git(repository, "checkout", "-q", "main")
    return commit


def _commit(repository: Path, price: str, subject: str) -> str:
    (repository / "prices").write_text(f"book {price}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", subject)
    return git(repository, "rev-parse", "HEAD")
