"""The sandbox: a command under bubblewrap, with a system that it can read and a build of its own.

What it sees is listed here and nothing else: the programs of the system and of DataKit's virtual
environment, a few files of ``/etc`` without passwords or keys, and the build's own directories,
which are the only ones that it can write. It has its own processes (with the command all of them
end, bwrap(1)), no capabilities and no way to get any, and no network unless it asks for one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HOME", "INPUT", "TEMPORARY", "Confinement", "sandbox_problem"]

INPUT = "/build"
"""Where a command starts, in its sandbox: the checkout of its input."""
HOME = "/home/build"
TEMPORARY = "/tmp"  # noqa: S108 - the sandbox's own, which is a directory of the build

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")

_SETTINGS = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "debian_version", "fonts"),
    *("group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime"),
    *("mime.types", "nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/certs"),
    *("protocols", "resolv.conf", "services", "ssl/certs", "ssl/openssl.cnf", "timezone"),
)
"""Of ``/etc``: what programs look up, and no file that is not everybody's to read."""

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """One build's sandbox.

    Attributes:
        directory: The build's directory, with ``tree``, ``home`` and ``tmp`` in it.
        network: Whether it shares the machine's network.
        hidden: What must not be seen, even where it lies below something that is.
    """

    directory: Path
    network: bool = False
    hidden: Sequence[Path] = ()

    def arguments(self, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` in the sandbox."""
        return [
            *("bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL"),
            *(() if self.network else ("--unshare-net",)),
            # First, so that what is visible may lie below it: a virtual environment in /tmp.
            *("--bind", str(self.directory / "tmp"), TEMPORARY),
            *(word for path in _visible() for word in ("--ro-bind-try", path, path)),
            # Read-only, or root could still set /proc/sys/kernel/core_pattern: as the owner of
            # that file it needs no capability for it.
            *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
            *(word for path in self._covered() for word in _cover(path)),
            *("--bind", str(self.directory / "tree"), INPUT),
            *("--bind", str(self.directory / "home"), HOME),
            *("--symlink", "../tmp", "/var/tmp"),  # noqa: S108 - as above
            *("--remount-ro", "/", "--chdir", INPUT, "--hostname", "build", "--"),
            *command,
        ]

    def _covered(self) -> Iterator[Path]:
        """What lies below something visible, and has to be hidden."""
        visible = [Path(path).resolve() for path in _visible()]
        for path in map(Path.resolve, self.hidden):
            if path.exists() and any(path.is_relative_to(each) for each in visible):
                yield path


def _cover(path: Path) -> tuple[str, ...]:
    """Put something empty in its place."""
    if path.is_dir():
        return "--tmpfs", str(path)
    return "--ro-bind", os.devnull, str(path)


def _visible() -> list[str]:
    """What a command can read."""
    own = [prefix for prefix in (sys.prefix, sys.base_prefix) if not prefix.startswith("/usr")]
    return [*_SYSTEM, *own, *(f"/etc/{name}" for name in _SETTINGS)]


def sandbox_problem() -> str:
    """Why no sandbox can be had on this machine; empty if one can. Takes some milliseconds."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is missing; install the package bubblewrap"
    with tempfile.TemporaryDirectory() as name:
        for part in ("tree", "home", "tmp"):
            Path(name, part).mkdir()
        try:
            done = subprocess.run(
                Confinement(Path(name)).arguments(["true"]),
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap cannot be run: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return (
        f"bubblewrap does not work here: {said[-1] if said else f'status {done.returncode}'}; "
        "it needs user namespaces: see kernel.unprivileged_userns_clone, "
        "user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns in sysctl"
    )
