"""``compose.yaml`` and ``deploy/`` fit the images, the commands and the published schemas.

The schemas of Kubernetes are those of the package kubernetes-validate, made from its OpenAPI
description; strict, so that a field that there is not is an error, as with kubeconform.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

from datakit_ci.bridges.command import app as local_bridge
from datakit_ci.bridges.github.command import app as github_bridge
from datakit_ci.cli import app as ci
from datakit_ci.project import load_pipeline, stages
from datakit_ci.target import Target
from datakit_core.cli import app as database

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSED = [ROOT / "compose.yaml", DEPLOY / "compose.yaml"]
COMMANDS = {
    "datakit/db": typer.main.get_command(database).commands["serve"],  # type: ignore[attr-defined]
    "datakit/ci": typer.main.get_command(ci).commands["serve"],  # type: ignore[attr-defined]
    "datakit/bridge-github": typer.main.get_command(github_bridge),
    "datakit/bridge-local-git": typer.main.get_command(local_bridge),
}
VERSIONS = ("1.30", "1.34")


def objects() -> list[Any]:
    """Every object of the manifests."""
    files = sorted(KUBERNETES.glob("*.yaml"))
    read = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in read if each["kind"] != "Kustomization"]


def pods() -> Iterator[Any]:
    return (
        each["spec"]["template"]["spec"] for each in objects() if "template" in each.get("spec", {})
    )


def containers() -> list[tuple[str, list[str]]]:
    """Image and arguments of every container of ours, composed or in a pod."""
    found = [
        (service["image"].partition(":")[0], list(service.get("command", [])))
        for file in COMPOSED
        for service in yaml.safe_load(file.read_text())["services"].values()
    ]
    found += [(each["image"], each["args"]) for pod in pods() for each in pod["containers"]]
    return [each for each in found if each[0].startswith("datakit/")]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "given", objects(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_every_object_fits_the_schema_of_kubernetes(given: Any, version: str) -> None:
    kubernetes_validate.validate(given, version, strict=True)


def test_a_wrong_object_does_not_fit() -> None:
    (wrong,) = (each for each in objects() if each["kind"] == "StatefulSet")
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_kustomization_names_every_file_and_image() -> None:
    named = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {each.name for each in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert {*named["resources"], *named["configMapGenerator"][0]["files"]} == files
    assert {each["name"] for each in named["images"]} == {
        each["image"] for pod in pods() for each in pod["containers"]
    }


def test_every_pod_is_as_restricted_as_its_namespace_asks() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        for each in [*pod["containers"], *pod.get("initContainers", [])]:
            assert each["securityContext"]["readOnlyRootFilesystem"]
            assert not each["securityContext"]["allowPrivilegeEscalation"]
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in each["resources"]["limits"]


def test_a_probe_a_service_and_a_policy_name_ports_that_there_are() -> None:
    ports = {port["name"] for pod in pods() for each in pod["containers"] for port in each["ports"]}
    used = set(
        re.findall(r"port: ([a-z-]+)\b", "".join(f.read_text() for f in KUBERNETES.iterdir()))
    )
    assert used
    assert used <= ports | {"{name"}


def dockerfile(image: str) -> str:
    """How an image of ours is made, with what it begins with."""
    name = image.removeprefix("datakit/")
    own = ROOT / f"Dockerfile.{name}"
    if own.exists():
        return own.read_text()
    text = (ROOT / "docker" / f"Dockerfile.{name}").read_text()
    below = re.search(r"^ARG \w+=(datakit/\S+)$", text, re.MULTILINE)
    assert below is not None, image
    return dockerfile(below[1]) + text


def said(text: str, instruction: str) -> set[str]:
    """All that an instruction says in a Dockerfile."""
    lines = re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)
    return {word for line in lines for word in line.split()}


def test_a_pod_runs_its_images_as_they_are_made_to_run() -> None:
    for pod in pods():
        first = pod["containers"][0]
        users = re.findall(r"--uid (\d+)", dockerfile(first["image"]))
        assert [str(pod["securityContext"]["runAsUser"])] == users
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]
        for each in pod["containers"]:
            text = dockerfile(each["image"])
            metrics = [a for a in each["args"] if a.startswith("--listen-prometheus")]
            given = {a.partition("=")[2] for a in metrics}  # two in a pod need two ports
            ports = {str(port["containerPort"]) for port in each["ports"]}
            assert ports <= said(text, "EXPOSE") | given, each["name"]
            assert given <= ports, each["name"]
            checks = [each[kind] for kind in ("startupProbe", "livenessProbe") if kind in each]
            for command in (check["exec"]["command"] for check in checks if "exec" in check):
                assert f"CMD {json.dumps(command)}" in text


def test_what_a_container_may_write_to_is_a_volume_of_its_image_or_temporary() -> None:
    for pod in pods():
        kinds = {each["name"]: each for each in pod["volumes"]}
        for each in pod["containers"]:
            (*_, listed) = re.findall(r"^VOLUME (.*)$", dockerfile(each["image"]), re.MULTILINE)
            for mount in each["volumeMounts"]:
                volume = kinds.get(mount["name"], {})
                if not mount.get("readOnly") and "emptyDir" not in volume:
                    assert mount["mountPath"] in json.loads(listed), each["name"]


@pytest.mark.parametrize(("image", "arguments"), containers())
def test_every_option_that_is_given_is_one_of_the_command(image: str, arguments: list[str]) -> None:
    known = {
        flag
        for parameter in COMMANDS[image].params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    given = [each.partition("=")[0] for each in arguments if each.startswith("--")]
    assert set(given) <= known
    assert len(given) == len(set(given))


@pytest.mark.parametrize("file", COMPOSED, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_composed_set_names_files_volumes_and_services_that_there_are(file: Path) -> None:
    composed = yaml.safe_load(file.read_text())
    for name, service in composed["services"].items():
        assert set(service.get("depends_on", [])) <= set(composed["services"]), name
        for source in (each.partition(":")[0] for each in service.get("volumes", [])):
            if source.startswith("./secrets") or source == "./pipeline":  # who deploys makes them
                continue
            known = source in composed["volumes"] or source.startswith(("$", '"'))
            assert known or (file.parent / source).is_file(), source


def test_production_is_open_to_the_proxy_only_and_hardened() -> None:
    services = yaml.safe_load(COMPOSED[1].read_text())["services"]
    assert {name for name, each in services.items() if "ports" in each} == {"ci"}
    assert services["ci"]["ports"] == ["80:80", "443:443"]
    assert services["caddy"]["network_mode"] == "service:ci"
    for name, each in services.items():
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name
        assert each["restart"] == "unless-stopped", name
        assert "mem_limit" in each, name


def test_every_metric_of_the_dashboard_for_grafana_is_documented() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "datakit.json").read_text())
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        names = re.findall(r"datakit_\w+", target["expr"])
        assert names, panel["title"]
        for name in names:
            assert f"`{re.sub('_(bucket|count)$', '', name)}`" in text, name


def test_every_metric_of_an_alert_is_documented_with_its_labels() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        names = re.findall(r"datakit_\w+", rule["expr"])
        assert names or rule["expr"].startswith("up{"), rule["alert"]
        for name in names:
            row = f"| `{name.removesuffix('_bucket')}`"
            (line,) = (each for each in text.splitlines() if each.startswith(row))
            said = rule["expr"] + rule["annotations"]["summary"]
            for label in re.findall(r"labels\.(?!instance)(\w+)|\b(\w+)=~?\"", said):
                assert f"`{''.join(label)}`" in line, (rule["alert"], label)


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-local.yml"])
def test_promtool_takes_the_configuration_and_its_alerts(name: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [promtool, "check", "config", DEPLOY / name],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 rules found" in done.stdout


ALERTS = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - series: up{{job="datakit-ci", instance="ci:9090"}}
        values: 1x3 0x9
      - series: datakit_ci_pool_queue{{pool="cpu"}}
        values: 2x30
      - series: datakit_ci_pool_busy{{pool="cpu"}}
        values: 1x10 0x20
      - series: datakit_github_syncs_total{{result="failed"}}
        values: 0+1x30
    alert_rule_test:
      - {{eval_time: 7m, alertname: DataKitDown}}
      - eval_time: 10m
        alertname: DataKitDown
        exp_alerts:
          - exp_labels: {{job: datakit-ci, instance: "ci:9090"}}
            exp_annotations: {{summary: datakit-ci at ci:9090 does not answer}}
      - {{eval_time: 20m, alertname: DataKitBuildsQueue}}
      - eval_time: 28m
        alertname: DataKitBuildsQueue
        exp_alerts:
          - exp_labels: {{pool: cpu}}
            exp_annotations: {{summary: "Builds wait for pool cpu, and none runs"}}
      - {{eval_time: 3m, alertname: DataKitGitHubFails}}
      - eval_time: 20m
        alertname: DataKitGitHubFails
        exp_alerts:
          - exp_labels: {{result: failed}}
            exp_annotations:
              summary: >-
                Repositories cannot be brought in step with GitHub; the bridge's log says why
"""


def test_alerts_come_when_they_should_and_not_before(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    story = tmp_path / "story.yml"
    story.write_text(ALERTS.format(rules=DEPLOY / "alerts.yml"))
    done = subprocess.run(
        [promtool, "test", "rules", story], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", COMPOSED, ids=lambda file: str(file.relative_to(ROOT)))
@pytest.mark.parametrize("profiles", ["", "monitoring", "redis,monitoring"])
def test_docker_compose_understands_every_variant(
    file: Path, profiles: str, tmp_path: Path
) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    own = tmp_path / "deploy"
    shutil.copytree(DEPLOY, own, ignore=shutil.ignore_patterns("secrets", ".env"))
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    (own / "secrets").mkdir()
    (own / "secrets" / "db.env").write_text("DATAKIT_AUTO_PUSH=\n")
    shutil.copy(own / "env.example", own / ".env")
    done = subprocess.run(
        ["docker-compose", "--file", tmp_path / file.relative_to(ROOT), "config"],
        env={"PATH": os.environ["PATH"], "COMPOSE_PROFILES": profiles,
             "REPOSITORY": "/app", "PROJECT": "me/app"},
        cwd=(tmp_path / file.relative_to(ROOT)).parent,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert "monitoring" not in profiles or "prometheus" in services
    assert "WARNING" not in done.stderr


def test_prometheus_is_told_of_every_port_with_metrics() -> None:
    """And of no other: what is not started would count as broken."""
    assert _scraped("prometheus.yml") == {"db:9090", "ci:9090", "db:9091"}
    assert _scraped("prometheus-local.yml") == {"db:9090", "ci:9090"}
    local, production = (each.read_text() for each in COMPOSED)
    assert "./deploy/prometheus-local.yml:" in local
    assert "./prometheus.yml:" in production


def _scraped(name: str) -> set[str]:
    told = yaml.safe_load((DEPLOY / name).read_text())
    return {each["static_configs"][0]["targets"][0] for each in told["scrape_configs"]}


def test_the_pipeline_for_kubernetes_is_fine() -> None:
    config = load_pipeline(KUBERNETES / "pipeline.py")
    assert stages(config.graph(Target("me/app", "heads", "main")))


@pytest.mark.parametrize("name", ["build-images.sh", "start-datakit.sh", "start-client.sh"])
def test_a_script_without_docker_says_what_to_install(name: str, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("dirname", "sed", "tail"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/bin/sh", ROOT / "scripts" / name],
        env={"PATH": str(tools)}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "There is no Docker here: install it" in done.stderr
