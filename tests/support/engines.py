"""A container engine with one tiny image, for tests of the plugin that talks to one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["TINY", "tiny_engine", "why_no_engine"]

TINY = "tiny:1"
"""Holds a shell and what it needs to read, write and wait."""

_PROGRAMS = ("sh", "cat", "cp", "echo", "mkdir", "sleep", "ls", "test", "wget")
_READY = b"API listen on"


def why_no_engine() -> str:
    """What is missing to start one; empty: nothing."""
    for program in ("dockerd", "docker", "busybox", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if os.geteuid() == 0 else "only root can start an engine"


@contextmanager
def tiny_engine() -> Iterator[str]:
    """Run an engine with a socket and files of its own; its ``DOCKER_HOST``."""
    # Not in pytest's directory: with that, the path of the socket would be too long.
    with tempfile.TemporaryDirectory(prefix="dkp-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        host = f"unix://{directory}/docker.sock"
        command = [
            "unshare", "-m", "dockerd", f"--host={host}", f"--data-root={directory}/data",
            f"--exec-root={directory}/exec", f"--pidfile={directory}/pid",
            "--storage-driver=overlay2", "--iptables=false", "--bridge=none",
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as daemon:
            assert daemon.stderr is not None
            try:
                said = b""
                while _READY not in (line := daemon.stderr.readline()):
                    said += line
                    assert line, said.decode()
                subprocess.run(
                    ["docker", "import", "-", TINY],
                    input=_image(), env={**os.environ, "DOCKER_HOST": host},
                    check=True, capture_output=True,
                )  # fmt: skip
                yield host
            finally:
                daemon.terminate()
                daemon.communicate()


def _image() -> bytes:
    found = io.BytesIO()
    busybox = shutil.which("busybox")
    assert busybox is not None
    with tarfile.open(fileobj=found, mode="w") as archive:
        archive.add(Path(busybox).resolve(), "bin/busybox")
        for program in _PROGRAMS:
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return found.getvalue()
