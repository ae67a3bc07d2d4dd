"""Kernels that a guest can run: User Mode Linux, and an ordinary one in QEMU.

Neither needs root or KVM. User Mode Linux boots in two seconds; QEMU interprets a kernel as
distributions ship it, which takes ten times as long, and is another version of Linux.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["BUSYBOX", "Machine", "Module", "Qemu", "UserModeLinux", "chosen"]

BUSYBOX = Path("/bin/busybox")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_NINEP = ("9pnet_fd", "9p")


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module, as insmod(8) takes it.

    Attributes:
        name: Without suffix.
        content: The ELF file, not compressed.
    """

    name: str
    content: bytes


class Machine(Protocol):
    """What runs a guest's kernel.

    Attributes:
        slowness: How many times as long as with User Mode Linux things take.
    """

    slowness: int

    def missing(self) -> str:
        """Debian's packages that have to be installed before; nothing if all is there."""
        ...

    def modules(self) -> list[Module]:
        """The kernel's modules for the network and 9P, in the order of loading."""
        ...

    def command(self, place: Path, initrd: Path) -> list[str | Path]:
        """What boots the guest, with its console on standard output.

        Args:
            place: A directory to work in.
            initrd: The guest's file system.
        """
        ...


class UserModeLinux:
    """A kernel that is a process; its network is Slirp."""

    slowness = 1

    _kernel = "linux"
    _slirp = Path("/usr/bin/slirp-fullbolt")
    _modules = Path("/usr/lib/uml/modules")

    def missing(self) -> str:
        """See :class:`Machine`."""
        packages = {
            "user-mode-linux": shutil.which(self._kernel) and self._modules.exists(),
            "slirp": self._slirp.exists(),
        }
        return " ".join(name for name, there in packages.items() if not there)

    def modules(self) -> list[Module]:
        """See :class:`Machine`."""
        return _in_order(self._modules, _NINEP)

    def command(self, place: Path, initrd: Path) -> list[str | Path]:
        """See :class:`Machine`."""
        return [
            self._kernel, "mem=128M", f"initrd={initrd}", f"eth0=slirp,,{self._slirp}", "con=null",
            "con0=fd:0,fd:1", f"uml_dir={place}/", "umid=guest", "quiet", "loglevel=1",
        ]  # fmt: skip


class Qemu:
    """An ordinary kernel in an emulated computer with an Intel network card."""

    slowness = 10

    _emulator = "qemu-system-x86_64"

    def __init__(self, root: Path = Path("/")) -> None:
        """Run the newest kernel that is installed, or unpacked, below ``root``."""
        self._root = root

    def missing(self) -> str:
        """See :class:`Machine`; a kernel without 9P, as those for clouds are, is none."""
        packages = {
            "qemu-system-x86": shutil.which(self._emulator),
            "linux-image-amd64": self._versions(),
        }
        return " ".join(name for name, there in packages.items() if not there)

    def modules(self) -> list[Module]:
        """See :class:`Machine`."""
        return _in_order(self._root / "lib/modules" / self._version(), ("e1000", *_NINEP))

    def command(self, place: Path, initrd: Path) -> list[str | Path]:
        """See :class:`Machine`."""
        return [
            self._emulator, "-accel", "tcg", "-m", "256", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio",
            "-netdev", "user,id=host", "-device", "e1000,netdev=host,romfile=",
            "-kernel", self._root / "boot" / f"vmlinuz-{self._version()}", "-initrd", initrd,
            "-append", "console=ttyS0 quiet loglevel=1 panic=-1",
        ]  # fmt: skip

    def _version(self) -> str:
        return max(self._versions(), key=_numbers)

    def _versions(self) -> list[str]:
        """The kernels that are there with their modules for 9P."""
        kernels = (path.name.partition("-")[2] for path in self._root.glob("boot/vmlinuz-*"))
        modules = self._root / "lib/modules"
        return [each for each in kernels if any((modules / each).glob("kernel/fs/9p/9p.ko*"))]


def chosen() -> Machine:
    """What the environment asks for.

    ``DATAKIT_GUEST=qemu`` is :class:`Qemu`, with the kernel of ``DATAKIT_KERNEL_ROOT``, into which
    ``dpkg-deb -x`` can unpack a package without root's rights; else it is :class:`UserModeLinux`.
    """
    if os.environ.get("DATAKIT_GUEST") == "qemu":
        return Qemu(Path(os.environ.get("DATAKIT_KERNEL_ROOT") or "/"))
    return UserModeLinux()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _in_order(directory: Path, wanted: tuple[str, ...]) -> list[Module]:
    """Modules and all that they depend on, each after what it needs (see modinfo(8)).

    A module that is not there as a file is part of the kernel itself.
    """
    found: dict[str, Module] = {}

    def add(name: str) -> None:
        file = next(directory.glob(f"**/{name}.ko*"), None)
        if name in found or file is None:
            return
        content = file.read_bytes()
        if file.suffix == ".xz":
            content = lzma.decompress(content)
        depends = _DEPENDS.search(content)
        for other in depends[1].decode().split(",") if depends is not None else ():
            if other:
                add(other)
        found[name] = Module(name, content)

    for name in wanted:
        add(name)
    return list(found.values())
