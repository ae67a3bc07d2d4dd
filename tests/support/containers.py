"""A container engine of our own: dockerd on a private socket, without bridge and registry.

Our images begin with a Debian that mmdebstrap makes, as no registry need be reachable; its archive
is kept in ``$DATAKIT_BASE_CACHE`` or pytest's cache, so that this happens once. The plugin's tests
make do with an image that holds busybox. Everything runs in the host's network, at ports that are
free.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "BASE",
    "IMAGES",
    "TINY",
    "ContainerEngine",
    "add_base",
    "add_tiny",
    "container_engine",
    "free_ports",
    "no_base",
    "no_engine",
]

ROOT = Path(__file__).parents[2]
BASE = "datakit-test/base"
"""What our images begin with: a small Debian with Python."""

TINY = "tiny:1"
"""Holds a shell and what it needs to read, write and wait."""

IMAGES = ("db", "ci", "client", "bridge-github", "bridge-local-git", "self-ci")
_PACKAGES = "ca-certificates,python3-minimal,python3-pip,python3-venv"
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PROGRAMS = ("sh", "cat", "cp", "echo", "mkdir", "sleep", "ls", "test", "wget")
_TRUST = """\
FROM datakit-test/plain
COPY ca.crt /usr/local/share/ca-certificates/machine.crt
RUN update-ca-certificates
"""


def no_engine() -> str:
    """Why there can be no engine here; empty if there can."""
    missing = _missing(dockerd="docker.io", busybox="busybox-static")
    return missing or ("" if os.geteuid() == 0 else "starting a container engine takes root")


def no_base() -> str:
    """Why our images cannot be built or composed here; empty if they can."""
    compose = {"docker-compose": "docker-compose", "mmdebstrap": "mmdebstrap"}
    return no_engine() or _missing(**compose)


def _missing(**packages: str) -> str:
    for program, package in packages.items():
        if shutil.which(program) is None:
            return f"{program} is missing; install Debian's package {package}"
    return ""


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody has at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """A running engine.

    Attributes:
        socket: Where it listens.
    """

    socket: Path

    @property
    def host(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that talk to it."""
        # Debian's engine builds without BuildKit, which would be a download.
        return {
            **os.environ,
            "DOCKER_HOST": self.host,
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CONFIG": str(self.socket.parent / "config"),
        }

    def __call__(self, *arguments: str | Path, check: bool = True, given: str = "") -> str:
        """What ``docker ARGUMENTS`` prints; fails the test if it fails and ``check`` says so."""
        done = self.run("docker", *arguments, given=given)
        assert not check or done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(
        self,
        *command: str | Path,
        given: str = "",
        variables: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program that talks to the engine."""
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=900,
            env=self.environment | dict(variables or {}), cwd=cwd,
        )  # fmt: skip

    @contextmanager
    def container(
        self, image: str, *arguments: str, options: Sequence[str | Path] = ()
    ) -> Iterator[str]:
        """A container in the background, which is removed at the end; its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self("run", "--detach", "--name", name, "--network=host", *options, image, *arguments)
        try:
            yield name
        finally:
            self("rm", "--force", name, check=False)

    def inspect(self, name: str, what: str = "") -> Any:
        """The engine's description of a container or an image, or of ``what`` part of it."""
        return json.loads(self("inspect", "--format", f"{{{{json .{what}}}}}", name))

    def until(self, condition: Callable[[], bool], name: str, seconds: float = 60) -> None:
        """Wait for what nobody announces, of a container whose log tells if it never comes."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = self.run("docker", "logs", "--tail", "40", name)
                raise AssertionError(f"{name} has not got so far: {logs.stdout}{logs.stderr}")
            time.sleep(0.1)

    def until_healthy(self, name: str) -> None:
        """Wait until the health check of a container has gone well."""
        self.until(lambda: self.inspect(name, "State.Health.Status") == "healthy", name)

    def stop(self, name: str) -> int:
        """Stop a container as an operator does; its exit status, 137 if it had to be killed."""
        self("stop", "--time", "20", name)
        return int(self.inspect(name, "State.ExitCode"))


@contextmanager
def container_engine(directory: Path) -> Iterator[ContainerEngine]:
    """Start an engine that keeps everything in ``directory``.

    Args:
        directory: Empty, with a short path (sockets are made in it).
    """
    engine = ContainerEngine(directory / "socket")
    with (directory / "log").open("w") as log:
        # Its mounts are nobody else's, and go with it.
        process = subprocess.Popen(
            ["unshare", "--mount", "dockerd", "--storage-driver=overlay2", "--iptables=false",
             "--ip6tables=false", "--bridge=none", f"--host={engine.host}",
             f"--data-root={directory / 'data'}", f"--exec-root={directory / 'exec'}",
             f"--pidfile={directory / 'pid'}"],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _started(engine, process, directory / "log")
        yield engine
    finally:
        if engine.socket.exists() and (left := engine("ps", "--quiet", check=False).split()):
            engine("rm", "--force", *left, check=False)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        # Some hundred thousand files: Python would take three times as long.
        subprocess.run(["rm", "-rf", directory], check=False)


def _started(engine: ContainerEngine, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while engine.run("docker", "version").returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def add_tiny(engine: ContainerEngine) -> None:
    """Give the engine :data:`TINY`."""
    found = io.BytesIO()
    busybox = shutil.which("busybox")
    assert busybox is not None
    with tarfile.open(fileobj=found, mode="w") as archive:
        archive.add(Path(busybox).resolve(), "bin/busybox")
        for program in _PROGRAMS:
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    subprocess.run(
        ["docker", "import", "-", TINY],
        input=found.getvalue(), env=engine.environment, check=True, capture_output=True,
    )  # fmt: skip


def add_base(engine: ContainerEngine, cache: Path) -> None:
    """Give the engine :data:`BASE`, which trusts what the machine trusts.

    The machine may reach its packages by a proxy.

    Args:
        engine: Which.
        cache: Where the archive of a plain Debian is kept.
    """
    engine("import", _archive(cache), "datakit-test/plain")
    context = engine.socket.parent / "trust"
    context.mkdir()
    (context / "Dockerfile").write_text(_TRUST)
    shutil.copy(_BUNDLE, context / "ca.crt")
    engine("build", "--quiet", "--network=host", "--tag", BASE, context)


def _archive(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / "base-bookworm.tar"
    if not archive.exists():
        new = cache / f"{archive.stem}.{os.getpid()}.tar"
        subprocess.run(
            ["mmdebstrap", "--variant=apt", '--aptopt=Acquire::Retries "5"',
             f"--include={_PACKAGES}", "bookworm", new],
            check=True, capture_output=True, timeout=900,
        )  # fmt: skip
        new.replace(archive)
    return archive
