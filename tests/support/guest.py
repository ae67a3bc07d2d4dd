"""A Linux kernel in a process: User Mode Linux, which needs neither root nor KVM.

The guest has Busybox, the kernel's 9P modules and a network in which the host is 10.0.2.2, and
runs scripts one after the other. It boots in two seconds, and ends by itself when the scripts
have; whatever it does, it is killed when its time is over. Debian's packages ``user-mode-linux``,
``slirp``, ``busybox-static`` and ``cpio`` have all of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HOST", "Outcome", "missing", "run"]

HOST = "10.0.2.2"
"""The machine that the guest runs on, as the guest calls it."""

_KERNEL = "linux"
_BUSYBOX = Path("/bin/busybox")
_SLIRP = Path("/usr/bin/slirp-fullbolt")
_MODULES = Path("/usr/lib/uml/modules")
_WANTED = ("netfs", "fscache", "9pnet", "9pnet_fd", "9p")
"""In the order in which they must be loaded."""

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


def missing() -> str:
    """What has to be installed before a guest can run; nothing if all is there."""
    packages = {
        "user-mode-linux": shutil.which(_KERNEL) and _MODULES.exists(),
        "slirp": _SLIRP.exists(),
        "busybox-static": _BUSYBOX.exists(),
        "cpio": shutil.which("cpio"),
    }
    return " ".join(name for name, there in packages.items() if not there)


def run(
    place: Path, scripts: Mapping[str, str], *, seconds: int = 40, patience: float = 120
) -> tuple[dict[str, Outcome], str]:
    """Boot a guest, let it run shell scripts, and wait for its end.

    Args:
        place: An empty directory to work in.
        scripts: Name to content; each is run in a shell of its own that stops at the first error.
        seconds: Each script is killed after so long.
        patience: The guest is killed after so many seconds.

    Returns:
        What became of each script that ended, and all that the guest wrote.
    """
    initrd = _pack(place / "root", place / "initrd", scripts, seconds)
    console = _boot(place, initrd, patience).replace("\r", "")
    found = {name: Outcome(output, int(code)) for name, output, code in _SCRIPT.findall(console)}
    return found, console


def _pack(root: Path, initrd: Path, scripts: Mapping[str, str], seconds: int) -> Path:
    """Make the guest's file system."""
    for name in ("bin", "dev", "proc", "tmp", "modules", "scripts"):
        (root / name).mkdir(parents=True)
    shutil.copy(_BUSYBOX, root / "bin" / "busybox")
    for module in _WANTED:
        (file,) = _MODULES.glob(f"*/kernel/**/{module}.ko")
        shutil.copy(file, root / "modules")
    for name, content in scripts.items():
        (root / "scripts" / name).write_text(content)
    init = root / "init"
    init.write_text(_INIT.format(modules=" ".join(_WANTED), host=HOST, seconds=seconds))
    init.chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packing = ["cpio", "--create", "--format=newc", "--quiet", "--file", str(initrd)]
    subprocess.run(packing, cwd=root, input=names.encode(), check=True)
    return initrd


def _boot(place: Path, initrd: Path, patience: float) -> str:
    """Run a guest to its end, or for ``patience`` seconds; what it wrote to its console."""
    command = [
        _KERNEL, "mem=128M", f"initrd={initrd}", f"eth0=slirp,,{_SLIRP}", "con=null",
        "con0=fd:0,fd:1", f"uml_dir={place}/", "umid=guest", "quiet", "loglevel=1",
    ]  # fmt: skip
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
