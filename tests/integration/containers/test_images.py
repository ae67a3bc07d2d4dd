"""Every image by itself: who it runs as, how it stops, what it keeps, what it says of itself."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from datakit_core import __version__
from tests.support.containers import IMAGES, ContainerEngine, free_ports
from tests.support.git import commit_file, git

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(1500),  # the first builds everything
]

SOON = ["--health-interval=1s"]
PIPELINE = """
from datakit_ci import Config, Project, shell

def jobs(target):
    return {"tools": shell("tools", "ruff --version && mypy --version && pytest --version")
            (target.source)}

config = Config(projects=[Project("me/app", jobs)])
"""
PLAIN_PIPELINE = """
from datakit_ci import Config, Project, shell

hello = shell("hello", "echo hello > said", outputs=["said"])
config = Config(projects=[Project("me/app", lambda target: {"hello": hello(target.source)})])
"""


def at(port: int) -> list[str]:
    return [f"--env=DATAKIT_URL=tcp://127.0.0.1:{port}", *SOON]


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is_and_who_it_runs_as(image: str, engine: ContainerEngine) -> None:
    config = engine.inspect(f"datakit/{image}", "Config")
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in config["Labels"].items()
    }
    assert labels["title"].startswith("DataKit")
    assert labels["description"]
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == __version__
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    # Only root may mount.
    assert config["User"] == ("root" if image == "client" else "datakit")
    assert {"/data", "/secrets"} <= set(config["Volumes"])
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][0] == (
        "CMD" if image in ("db", "ci", "self-ci") else "NONE"
    )


def test_no_image_holds_what_the_machine_trusts_but_the_base_did(engine: ContainerEngine) -> None:
    given = engine(
        "run", "--rm", "--entrypoint=ls", "datakit/db", "/usr/local/share/ca-certificates"
    )
    assert given == "machine.crt"  # of the base that the tests have made, and of nothing else
    assert "ca.crt" not in git(Path(__file__).parent, "ls-files", "--full-name", ":/")


def test_the_database_takes_options_after_the_name_of_the_image(engine: ContainerEngine) -> None:
    port, metrics = free_ports(2)
    options = [f"--listen-9p=tcp://0.0.0.0:{port}", "--listen-prometheus", str(metrics)]
    with engine.container("datakit/db", *options, options=at(port)) as name:
        engine.until_healthy(name)
        engine("exec", "--interactive", name, "datakit", "write", "main", "a", given="1")
        assert engine("exec", name, "datakit", "cat", "main", "a") == "1"
        assert engine("exec", name, "id", "-u") == "5640"
        assert 'datakit_commits_total{outcome="moved"} 1.0' in fetched(
            f"http://127.0.0.1:{metrics}/metrics"
        )


def test_no_commit_is_lost_when_a_container_stops_and_another_has_its_volume(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    volume = ["--volume=test-kept:/data", *at(port)]
    options = [f"--listen-9p=tcp://0.0.0.0:{port}"]
    with engine.container("datakit/db", *options, options=volume) as name:
        engine.until_healthy(name)
        # Writes one commit after the other and says so, until the server has gone.
        with subprocess.Popen(
            ["docker", "exec", name, "sh", "-c",
             "for i in $(seq 1000); do echo $i | datakit write main n >/dev/null 2>&1 && echo $i"
             " || exit 0; done"],
            stdout=subprocess.PIPE, text=True, env=engine.environment,
        ) as writer:  # fmt: skip
            assert writer.stdout is not None
            assert writer.stdout.readline() == "1\n"
            assert engine.stop(name) == 0
            acknowledged = ["1", *writer.stdout.read().split()]
    with engine.container("datakit/db", *options, options=volume) as name:
        engine.until_healthy(name)
        assert int(engine("exec", name, "datakit", "cat", "main", "n")) >= int(acknowledged[-1])
        assert engine.stop(name) == 0


def test_the_database_runs_on_a_root_that_nobody_can_write_to(engine: ContainerEngine) -> None:
    (port,) = free_ports(1)
    hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    with engine.container(
        "datakit/db", f"--listen-9p=tcp://127.0.0.1:{port}", options=[*hardened, *at(port)]
    ) as name:
        engine.until_healthy(name)
        engine("exec", "--interactive", name, "datakit", "write", "main", "a", given="1")


def test_the_ci_is_healthy_under_tls_and_stops_at_once(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    web, ninep = free_ports(2)
    commit_file(tmp_path / "app", "pipeline.py", PIPELINE.encode())
    with engine.container(
        "datakit/ci", "serve", "/pipeline/pipeline.py", "--git=/data/database.git",
        f"--web-ui=https://127.0.0.1:{web}", f"--listen-9p=tcp://127.0.0.1:{ninep}",
        options=[
            f"--volume={tmp_path / 'app'}:/pipeline:ro",
            f"--env=DATAKIT_HEALTH=https://127.0.0.1:{web}/health",
            "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", *SOON,
        ],
    ) as name:  # fmt: skip
        engine.until_healthy(name)
        assert engine.stop(name) == 0


def test_the_image_of_the_ci_is_a_scheduler_and_a_worker_too(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    ninep, scheduler, web = free_ports(3)
    commit_file(tmp_path / "app", "pipeline.py", PLAIN_PIPELINE.encode())
    mine = ["--no-healthcheck"]
    with (
        engine.container(
            "datakit/ci", "scheduler", "--host=127.0.0.1", f"--port={scheduler}",
            "--dashboard-address=127.0.0.1:0", options=[*mine, "--entrypoint=dask"],
        ),
        engine.container(
            "datakit/ci", "serve", "/pipeline/pipeline.py", "--git=/data/database.git",
            f"--web-ui=http://127.0.0.1:{web}", f"--listen-9p=tcp://127.0.0.1:{ninep}",
            f"--executor=dask:tcp://127.0.0.1:{scheduler}",
            options=[f"--volume={tmp_path / 'app'}:/pipeline:ro", *at(ninep)],
        ) as service,
    ):  # fmt: skip
        status = ["exec", service, "datakit-ci", "status", "me/app/heads/main"]
        engine.until(lambda: "hello" in engine(*status, check=False), service)
        with engine.container(
            "datakit/ci", "worker", f"--scheduler=tcp://127.0.0.1:{scheduler}",
            f"--metadata-store=tcp://127.0.0.1:{ninep}", "--name=far",
            options=[*mine, "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"],
        ) as worker:  # fmt: skip
            engine.until(lambda: "passed" in engine(*status, check=False), service)
            assert engine.stop(worker) == 0


def test_the_github_bridge_refuses_a_token_that_others_can_read(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    token = tmp_path / "github-token"
    token.write_text("secret")
    token.chmod(0o644)
    tmp_path.chmod(0o755)
    done = engine.run(
        "docker", "run", "--rm", "--network=host", f"--volume={tmp_path}:/secrets:ro",
        "datakit/bridge-github", "--token=/secrets/github-token", "--repositories=me/app", "--once",
    )  # fmt: skip
    assert done.returncode == 2
    assert "chmod 600" in done.stderr
    assert "secret\n" not in done.stderr


def test_self_ci_has_the_tools_that_the_pipeline_of_this_repository_calls(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    root = Path(__file__).parents[3]
    checked = engine(
        "run", "--rm", f"--volume={root}:/repository:ro", "datakit/self-ci",
        "check", "/repository/self_ci/pipeline.py",
    )  # fmt: skip
    assert "lint" in checked
    commit_file(tmp_path / "app", "self_ci/pipeline.py", PIPELINE.encode())
    web, ninep = free_ports(2)
    with engine.container(
        "datakit/self-ci", "serve", "/repository/self_ci/pipeline.py", "--git=/data/database.git",
        f"--web-ui=http://127.0.0.1:{web}", f"--listen-9p=tcp://127.0.0.1:{ninep}",
        options=[f"--volume={tmp_path / 'app'}:/repository:ro", *at(ninep)],
    ) as name:  # fmt: skip
        status = ["exec", name, "datakit-ci", "status", "me/app/heads/main"]
        engine.until(lambda: "passed" in engine(*status, check=False), name)
        assert engine.stop(name) == 0
