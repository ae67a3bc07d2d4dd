"""A guest: a Linux kernel with its own small world, which runs scripts and ends.

It has Busybox, the kernel's 9P modules and a network in which the host is 10.0.2.2, and runs the
scripts one after the other. It ends by itself when they have; whatever it does, it is killed when
its time is over. What runs the kernel is a :class:`~tests.support.machines.Machine`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.machines import BUSYBOX, Machine, Module

__all__ = ["HOST", "Outcome", "missing", "run"]

HOST = "10.0.2.2"
"""The machine that the guest runs on, as the guest calls it."""

_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via {host}
for script in /scripts/*; do
    echo "@begin ${{script##*/}}"
    timeout -s KILL {seconds} sh -eu $script 2>&1 </dev/null
    echo "@end $?"
done
poweroff -f
"""

_SCRIPT = re.compile(r"^@begin (\S+)\n(.*?)^@end (\d+)\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a script.

    Attributes:
        output: What it wrote, errors included.
        status: Its exit status; 137 if it took too long.
    """

    output: str
    status: int


def missing(machine: Machine) -> str:
    """Debian's packages that are missing for a guest; nothing if all is there."""
    ours = {"busybox-static": BUSYBOX.exists(), "cpio": shutil.which("cpio")}
    return " ".join(
        [machine.missing(), *(name for name, there in ours.items() if not there)]
    ).strip()


def run(
    machine: Machine,
    place: Path,
    scripts: Mapping[str, str],
    *,
    seconds: int = 40,
    patience: float = 120,
) -> tuple[dict[str, Outcome], str]:
    """Boot a guest, let it run shell scripts, and wait for its end.

    Args:
        machine: What runs its kernel.
        place: An empty directory to work in.
        scripts: Name to content; each is run in a shell of its own that stops at the first error.
        seconds: Each script is killed after so long, on a machine as fast as User Mode Linux.
        patience: The guest is killed after so many seconds on such a machine.

    Returns:
        What became of each script that ended, and all that the guest wrote.
    """
    root, initrd = place / "root", place / "initrd"
    _fill(root, machine.modules(), scripts, seconds * machine.slowness)
    _pack(root, initrd)
    command = machine.command(place, initrd)
    console = _boot(command, place, patience * machine.slowness).replace("\r", "")
    found = {name: Outcome(output, int(code)) for name, output, code in _SCRIPT.findall(console)}
    return found, console


def _fill(root: Path, modules: Sequence[Module], scripts: Mapping[str, str], seconds: int) -> None:
    """Lay out the guest's file system."""
    for name in ("bin", "dev", "proc", "tmp", "modules", "scripts"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for module in modules:
        (root / "modules" / f"{module.name}.ko").write_bytes(module.content)
    for name, content in scripts.items():
        (root / "scripts" / name).write_text(content)
    init = root / "init"
    names = " ".join(module.name for module in modules)
    init.write_text(_INIT.format(modules=names, host=HOST, seconds=seconds))
    init.chmod(0o755)


def _pack(root: Path, initrd: Path) -> None:
    """Make the archive that the kernel unpacks."""
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packing = ["cpio", "--create", "--format=newc", "--quiet", "--file", str(initrd)]
    subprocess.run(packing, cwd=root, input=names.encode(), check=True)


def _boot(command: Sequence[str | Path], place: Path, patience: float) -> str:
    """Run a guest to its end, or for ``patience`` seconds; what it wrote to its console."""
    guest = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    try:
        output, _ = guest.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        _kill(guest)
        output, _ = guest.communicate()
    finally:
        _kill(guest)
    return output.decode(errors="replace")


def _kill(guest: subprocess.Popen[bytes]) -> None:
    """End the guest, its processes and its network, which all are in a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guest.pid, signal.SIGKILL)
