"""``docs/deploy.md``, followed word for word in a checkout: what needs no GitHub is run.

The one difference is the network: this engine has none of its own, so a ``docker`` that comes first
on the path puts everything into the host's, at free ports.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.containers.test_composed import Ports
from tests.support.containers import BASE, ContainerEngine, free_ports
from tests.support.git import git

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(1500),  # the first builds everything
]

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "deploy.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)

DOCKER = """\
#!{python}
import os, sys
words = [each.replace("tcp://db:5640", "{url}") for each in sys.argv[1:]]
if words[0] == "compose":
    words[:1] = ["docker-compose"]
    if os.path.exists("compose.host.yaml"):
        words[1:1] = ["--file", "compose.host.yaml"]
    os.execv("{compose}", words)
if words[0] == "build":
    words.insert(1, "--network=host")
if words[0] == "run":
    if "--publish" in words:
        at = words.index("--publish")
        del words[at:at + 2]
    (at,) = (n for n, each in enumerate(words) if each.startswith("datakit/"))
    if words[at] == "datakit/db" and "--entrypoint" not in words:
        words.append("--listen-9p={url}")
    words[at:at] = ["--env=DATAKIT_URL={url}"]
    if not any(each.startswith("--network") for each in words):
        words[at:at] = ["--network=host"]
os.execv("{docker}", ["docker", *words])
"""


def programs(directory: Path, url: str) -> Path:
    """A directory with the programs that stand in for those of the page."""
    directory.mkdir()
    docker, compose = shutil.which("docker"), shutil.which("docker-compose")
    script = DOCKER.format(python=sys.executable, url=url, docker=docker, compose=compose)
    (directory / "docker").write_text(script)
    (directory / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    for each in directory.iterdir():
        each.chmod(0o755)
    return directory


def checkout(directory: Path, ports: Ports) -> Path:
    """A clone with the files as they are now, its composed set also for the host's network.

    It is at the same commit, which images name, so that those of the other tests are these.
    """
    git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(directory))
    files = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
    given = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = {
        name: ports.put_into(each)
        for name, each in given["services"].items()
        if each["image"].startswith("datakit/")
    }
    composed = {"services": services, "volumes": given["volumes"]}
    (directory / "compose.host.yaml").write_text(yaml.safe_dump(composed))
    return directory


def test_every_command_of_the_page_runs(engine: ContainerEngine, tmp_path: Path) -> None:
    ports = Ports(*free_ports(4))
    path = programs(tmp_path / "bin", f"tcp://127.0.0.1:{ports.ninep}")
    here = checkout(tmp_path / "datakit", ports)
    script = "set -eux\n" + "\n".join(COMMANDS)
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "A. Writer"), ("EMAIL", "writer@example.org"))
    }
    try:
        done = engine.run(
            "sh", "-c", script, cwd=here,
            variables={
                **identity, "PATH": f"{path}:{os.environ['PATH']}", "BASE": BASE,
            },
        )  # fmt: skip
    finally:
        engine("rm", "--force", "datakit-db", check=False)
        subprocess.run(
            [path / "docker", "compose", "down"], cwd=here, check=False, capture_output=True,
            env=engine.environment | {"REPOSITORY": "/", "PROJECT": "me/app"},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello\n" in done.stdout
    assert "/setup?token=" in done.stdout
    assert "me/app/heads/main" in done.stdout
    assert (here / "accounts.tar").stat().st_size > 0
    mode = (here / "deploy" / "secrets" / "bridge" / "webhook-secret").stat()
    assert (mode.st_mode & 0o777, mode.st_uid) == (0o600, 5641)


def test_what_is_not_run_needs_github_a_token_or_a_cluster() -> None:
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            assert line.startswith(("docker compose", "kubectl ", "sudo tee secrets/")), line


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    assert {"github.md#tokens-and-permissions", "login.md#accounts"} <= set(links)
    for link in links:
        file, _, heading = link.partition("#")
        text = (ROOT / "docs" / file).read_text()
        anchors = {
            re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-")
            for each in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not heading or heading in anchors, link
