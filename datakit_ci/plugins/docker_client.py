"""A container engine, by its command line ``docker``: what stages need of it.

Files go there and back as archives (``docker cp``), so the engine may be on another machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from datakit_ci.stage import StageFailed, StageTransient

__all__ = ["LABEL", "Docker"]

LABEL: Final = "datakit.ci"
"""Of all images and containers that are ours to remove; its value is the project."""

_OWNER: Final = "datakit.owner"
"""Label of a container: the machine and process that began it."""

_KEPT: Final = "168h"
"""Images that nothing uses are removed at that age; they are built again when they are needed."""


class Docker:
    """The engine; what it says of its work goes to the stage's log as it comes."""

    def has(self, image: str) -> bool:
        """Whether an image is there; raises ``StageTransient`` if the engine is not."""
        if self._run("image", "inspect", "--format={{.Id}}", image).returncode == 0:
            return True
        self._check()
        return False

    def ask(self, image: str, template: str) -> str:
        """What ``docker image inspect`` says of an image that is there."""
        return self._ask("image", "inspect", f"--format={template}", image)

    def labels_of(self, image: str) -> dict[str, str]:
        """Its labels, sorted."""
        return dict(sorted((json.loads(self.ask(image, "{{json .Config.Labels}}")) or {}).items()))

    def tag(self, image: str, name: str) -> None:
        """Give an image a name."""
        self._ask("tag", image, name)

    def pull(self, name: str) -> bool:
        """Fetch an image; whether that worked."""
        return self._show("pull", name) == 0

    def build(self, context: Path, dockerfile: str, args: Mapping[str, str], network: str) -> str:
        """Build an image.

        Args:
            context: A directory with all that the builder sees.
            dockerfile: Path in it.
            args: Build arguments.
            network: For its commands: ``default``, ``none`` or ``host``.

        Returns:
            The image's id.

        Raises:
            StageFailed: It cannot be built.
            StageTransient: The engine is gone.
        """
        note = Path("image-id").resolve()
        note.unlink(missing_ok=True)
        status = self._show(
            "build",
            f"--file={context / dockerfile}",
            f"--label={LABEL}={_project()}",
            f"--iidfile={note}",
            f"--network={network}",
            "--force-rm",
            *(f"--build-arg={name}={value}" for name, value in sorted(args.items())),
            str(context),
        )
        if status:
            self._check()
            raise StageFailed(f"docker build exited with status {status}")
        return note.read_text().strip()

    def create(self, name: str, options: Sequence[str], image: str, command: Sequence[str]) -> None:
        """Make a container of ours."""
        owner = f"{socket.gethostname()}:{os.getpid()}"
        labels = [f"--label={LABEL}={_project()}", f"--label={_OWNER}={owner}"]
        self._ask("create", f"--name={name}", *labels, *options, image, *command)

    def copy(self, source: str, destination: str) -> bool:
        """Copy into a container or out of one; whether that worked."""
        return self._run("cp", source, destination).returncode == 0

    def start(self, container: str) -> int:
        """Run a container to its end; its exit status.

        Raises:
            StageTransient: The engine is gone.
        """
        status = self._show("start", "--attach", container)
        if status:
            self._check()
        return status

    def was_short_of_memory(self, container: str) -> bool:
        """Whether it was ended because it had used all the memory that it may."""
        return self._ask("inspect", "--format={{.State.OOMKilled}}", container) == "true"

    def remove(self, container: str) -> None:
        """End and remove a container, if it is there."""
        self._run("rm", "--force", "--volumes", container)

    def tidy(self) -> None:
        """Remove what nobody uses any more, of ours alone."""
        form = f'{{{{.ID}}}} {{{{.Label "{_OWNER}"}}}}'
        listed = self._run("ps", "--all", f"--filter=label={LABEL}", f"--format={form}").stdout
        for line in listed.splitlines():
            container, _, owner = line.partition(" ")
            host, _, process = owner.rpartition(":")
            if host == socket.gethostname() and not Path("/proc", process).exists():
                self.remove(container)  # whoever began it was killed
        old = [f"--filter=label={LABEL}", f"--filter=until={_KEPT}"]
        self._run("image", "prune", "--all", "--force", *old)

    def _check(self) -> None:
        """Tell an engine that is gone from one that has refused."""
        if self._run("version", "--format={{.Server.Version}}").returncode:
            raise StageTransient("no container engine: it is gone")

    def _ask(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            self._check()
            raise StageFailed(f"docker {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _show(self, *arguments: str) -> int:
        """Run a command whose output is for people."""
        try:
            return subprocess.run(["docker", *arguments], check=False).returncode
        except OSError as error:
            raise StageTransient(f"no container engine: docker: {error.strerror}") from error

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", *arguments]
        try:
            return subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace"
            )
        except OSError as error:
            raise StageTransient(f"no container engine: docker: {error.strerror}") from error


def _project() -> str:
    return os.environ.get("DATAKIT_PROJECT", "")
