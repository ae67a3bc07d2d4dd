"""The images of this repository, made by its own pipeline, each from the one that it adds to."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from datakit_ci import TargetTerms, Term
from datakit_ci.state import Status
from self_ci.pipeline import images
from tests.integration.containers.test_docker_plugin import job, log_of, running
from tests.support.bench import Bench
from tests.support.containers import BASE, ContainerEngine
from tests.support.git import git

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(1500),  # the first builds everything
]

ROOT = Path(__file__).parents[3]
PUBLISHED = "python:3.12-slim-bookworm"
DOCKER = """\
#!/bin/sh
# The engine of the tests has no network of its own.
for word; do
    shift
    [ "$word" = --network=default ] && word=--network=host
    set -- "$@" "$word"
done
exec {docker} "$@"
"""


def own_files() -> dict[str, bytes]:
    """This repository as it is now."""
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    return {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}


WANTED = ("image/db", "image/ci", "image/client", "image/bridge-local-git")


def some(target: TargetTerms) -> dict[str, Term[object]]:
    """Two that begin with what a registry has, and one upon each: the rest is alike."""
    found = images(target.source)
    return {name: found[name] for name in WANTED}


async def test_every_image_is_made_from_the_one_that_it_adds_to(
    bench: Bench, engine: ContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = bench.directory / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(docker=shutil.which("docker")))
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    engine("tag", BASE, PUBLISHED)  # as if it had been fetched once: no registry is reachable
    async with running(bench, some, files=own_files()) as ci:
        await ci.idle()
        ids = {}
        for name in WANTED:
            assert job(ci, name).status is Status.SUCCESS, await log_of(ci, name)
            state = await ci.build(job(ci, name).builds[-1])
            assert state is not None
            assert state.output is not None
            about = json.loads(await bench.database.read(state.output, "image.json"))
            assert about["labels"]["datakit.ci"] == "me/app"
            ids[name] = about["id"]
    layers = {name: engine.inspect(each, "RootFS.Layers") for name, each in ids.items()}
    for upper, lower in (("client", "db"), ("bridge-local-git", "ci")):
        below = layers[f"image/{lower}"]
        assert layers[f"image/{upper}"][: len(below)] == below
    bridge = ids["image/bridge-local-git"]
    assert "PATH" in engine("run", "--rm", "--network=host", bridge, "--help")
