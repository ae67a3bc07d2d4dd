"""The local set of ``compose.yaml`` and the scripts, started as users start them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.containers import ContainerEngine, free_ports
from tests.support.git import commit_file

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(1500),  # the first builds everything
]

ROOT = Path(__file__).parents[3]
PIPELINE = """
from datakit_ci import Config, Project, everyone, shell

def jobs(target):
    return {"count": shell("count", "ls | wc -l > count", outputs=["count"])(target.source)}

config = Config(projects=[Project("me/app", jobs)], can_read=everyone)
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the composed set is, as all share the host's network."""

    ninep: int
    web: int
    db_metrics: int
    ci_metrics: int

    def put_into(self, service: Any) -> Any:
        """A service of ``compose.yaml`` that needs no network of its own."""
        metrics = self.ci_metrics if service["image"] == "datakit/ci" else self.db_metrics
        text = json.dumps({key: each for key, each in service.items() if key != "ports"})
        for old, new in (
            ("tcp://0.0.0.0:5640", f"tcp://127.0.0.1:{self.ninep}"),
            ("tcp://db:5640", f"tcp://127.0.0.1:{self.ninep}"),
            ("http://0.0.0.0:8080", f"http://127.0.0.1:{self.web}"),
            ("prometheus=9090", f"prometheus={metrics}"),
        ):
            text = text.replace(old, new)
        changed = json.loads(text) | {"network_mode": "host"}
        changed["environment"] = {
            "DATAKIT_URL": f"tcp://127.0.0.1:{self.ninep}",
            "DATAKIT_HEALTH": f"http://127.0.0.1:{self.web}/health",
        }
        if "healthcheck" in changed:
            changed["healthcheck"]["interval"] = "1s"
        return changed


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def answers(url: str) -> bool:
    try:
        return bool(fetched(url))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def composed(engine: ContainerEngine, directory: Path, repository: Path) -> Iterator[Ports]:
    """The local set that watches ``repository``."""
    ports = Ports(*free_ports(4))
    given = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = {
        name: ports.put_into(each)
        for name, each in given["services"].items()
        if each["image"].startswith("datakit/")  # the others come from a registry
    }
    file = directory / "compose.yaml"
    file.write_text(yaml.safe_dump({"services": services, "volumes": given["volumes"]}))
    command = ["docker-compose", "--project-name", "local", "--file", str(file)]
    variables = {"REPOSITORY": str(repository), "PROJECT": "me/app"}
    try:
        done = engine.run(*command, "up", "--detach", variables=variables)
        assert done.returncode == 0, done.stdout + done.stderr
        yield ports
    finally:
        engine.run(*command, "down", "--volumes", variables=variables)


def container_of(engine: ContainerEngine, service: str) -> str:
    return engine("ps", "--quiet", f"--filter=label=com.docker.compose.service={service}")


def test_a_commit_to_the_watched_repository_is_tested_and_seen_in_the_client(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    repository = tmp_path / "app"
    tmp_path.chmod(0o755)
    commit_file(repository, "pipeline.py", PIPELINE.encode())
    with composed(engine, tmp_path, repository) as ports:
        ci = container_of(engine, "ci")
        url = f"http://127.0.0.1:{ports.web}"
        engine.until(lambda: answers(f"{url}/health"), ci)
        second = commit_file(repository, "second", b"2")
        state = f"me/app/commit/{second}/status/ci/datakit/count/state"
        client = ["run", "--rm", "--cap-add=SYS_ADMIN", "--network=host"]
        client += [f"--env=DATAKIT_URL=tcp://127.0.0.1:{ports.ninep}", "datakit/client"]
        db = container_of(engine, "db")
        look = ["exec", db, "datakit", "cat", "github-metadata", state]
        engine.until(lambda: engine(*look, check=False) == "success", ci)
        if "\t9p\n" in Path("/proc/filesystems").read_text():
            seen = engine(*client, "cat", f"/db/branch/github-metadata/ro/{state}")
        else:
            seen = engine(*client, "datakit", "cat", "github-metadata", state)
        assert seen.split()[-1] == "success"

        assert "count" in fetched(f"{url}/me/app/ref/heads/main")
        assert 'outcome="moved"' in fetched(f"http://127.0.0.1:{ports.db_metrics}/metrics")
        counted = fetched(f"http://127.0.0.1:{ports.ci_metrics}/metrics")
        assert "datakit_ci_builds_total{" in counted
        assert "/setup?token=" in engine("logs", ci)


def test_the_scripts_start_a_database_and_look_into_it(engine: ContainerEngine) -> None:
    (port,) = free_ports(1)
    url = f"tcp://127.0.0.1:{port}"
    start = {
        "NAME": "scripted",
        "PORT": str(port),
        "FLAGS": f"--network=host --env=DATAKIT_URL={url}",
    }
    done = engine.run("scripts/start-datakit.sh", f"--listen-9p={url}", variables=start)
    try:
        assert done.returncode == 0, done.stderr
        assert url in done.stdout
        engine("exec", "--interactive", "scripted", "datakit", "write", "main", "a", given="1")
        look = engine.run(
            "scripts/start-client.sh", "datakit", "cat", "main", "a",
            variables={"NAME": "scripted", "DATAKIT_URL": url},
        )  # fmt: skip
        assert look.stdout.split()[-1] == "1", look.stderr
        twice = engine.run("scripts/start-datakit.sh", variables=start)
        assert twice.returncode == 1
        assert "runs already; stop it first: docker stop scripted" in twice.stderr
    finally:
        engine("rm", "--force", "scripted", check=False)


def test_a_client_without_a_database_says_how_to_start_one(engine: ContainerEngine) -> None:
    done = engine.run("scripts/start-client.sh", variables={"NAME": "nowhere"})
    assert done.returncode == 1
    assert "start one with scripts/start-datakit.sh" in done.stderr


def test_a_database_that_cannot_start_says_why(engine: ContainerEngine) -> None:
    variables = {"NAME": "broken", "FLAGS": "--network=host"}
    done = engine.run("scripts/start-datakit.sh", "--no-such-option", variables=variables)
    engine("rm", "--force", "broken", check=False)
    assert done.returncode == 1
    assert "--no-such-option" in done.stderr


def test_an_engine_that_does_not_answer_is_named(engine: ContainerEngine) -> None:
    done = engine.run("scripts/start-datakit.sh", variables={"DOCKER_HOST": "unix:///nowhere"})
    assert done.returncode == 1
    assert "Docker does not answer" in done.stderr
