"""Machines of a network of our own, whose links are cut so that nobody is told.

Each machine is a network namespace (network_namespaces(7)) with one link to a router, which is
another. A link between two machines is cut by the router: it drops what comes from either for the
other, so that neither gets an RST, a FIN or an ICMP message; as with a cable that was pulled out
behind the next switch. The test itself is on the network too, as ``HOME``.

Everything is in the namespaces, and goes with them. Their names say whose they are: what a test
that was killed has left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["HOME", "Laboratory", "laboratory", "no_laboratory"]

HOME = "home"
"""The namespace of the tests."""

_PREFIX = "datakit-lab"
_PROGRAMS = {"ip": "iproute2", "iptables": "iptables"}
_ROUTER = "router"
_SIZE = 32
"""Addresses of a laboratory: of four, two are those of a machine's link and of the router there."""

_LABORATORIES = 4096
"""With different addresses, all of them in 198.18.0.0/15, which is for tests (RFC 2544)."""


def no_laboratory() -> str:
    """Why there can be none here; empty if there can."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is missing; install Debian's package {package}"
    if os.geteuid() != 0:
        return "network namespaces of our own take root"
    try:
        with laboratory("one", "two") as tried:
            tried.cut("one", "two")
    except _Refused as error:
        return f"network namespaces are not permitted here: {error}"
    return ""


class _Refused(Exception):
    """A command has failed; its words."""


class Laboratory:
    """The network; made by :func:`laboratory`."""

    def __init__(self, machines: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate((HOME, *machines))}
        self._own = f"{_PREFIX}-{os.getpid()}-{_start_of(os.getpid())}"
        assert len(self._places) * 4 <= _SIZE, "a laboratory has no more addresses"

    def address(self, machine: str) -> str:
        """Where a machine is reached, by all that are not cut off from it."""
        return self._address(4 * self._places[machine] + 2)

    def inside(self, machine: str) -> list[str]:
        """What to put before a command that shall run there; it keeps its process id."""
        return ["ip", "netns", "exec", self._namespace(machine)]

    def cut(self, one: str, other: str) -> None:
        """Cut the link between two machines."""
        self._rules("-I", one, other)

    def heal(self, one: str, other: str) -> None:
        """Mend it."""
        self._rules("-D", one, other)

    def heal_all(self) -> None:
        """Mend what is cut."""
        _run(*self.inside(_ROUTER), "iptables", "-F", "FORWARD")

    def lose(self, share: float) -> None:
        """Lose this share of all packets, at random, until all is mended."""
        rule = ["-m", "statistic", "--mode", "random", "--probability", f"{share}", "-j", "DROP"]
        _run(*self.inside(_ROUTER), "iptables", "-w", "-A", "FORWARD", *rule)

    def build(self) -> None:
        """Lay the cables."""
        router = self._namespace(_ROUTER)
        _run("ip", "netns", "add", router)
        _run(*self.inside(_ROUTER), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for name, place in self._places.items():
            theirs = f"lab{os.getpid()}" if name == HOME else "eth0"
            end = f"to{place}"
            where = ["netns", str(os.getpid())]
            if name != HOME:
                where = ["netns", self._namespace(name)]
                _run("ip", "netns", "add", where[1])
            veth = ["link", "add", end, "type", "veth", "peer", "name", theirs, *where]
            _run("ip", "-n", router, *veth)
            gate = self._address(4 * place + 1)
            _run("ip", "-n", router, "address", "add", f"{gate}/30", "dev", end)
            _run("ip", "-n", router, "link", "set", end, "up")
            ip = ["ip"] if name == HOME else ["ip", "-n", where[1]]
            _run(*ip, "address", "add", f"{self.address(name)}/30", "dev", theirs)
            _run(*ip, "link", "set", theirs, "up")
            _run(*ip, "route", "add", f"{self._address(0)}/27", "via", gate)
            if name != HOME:
                _run(*ip, "link", "set", "lo", "up")

    def tear_down(self) -> None:
        """End what still runs there, and remove it."""
        _remove(self._own)

    def _namespace(self, machine: str) -> str:
        return f"{self._own}-{machine}"

    def _address(self, number: int) -> str:
        number += os.getpid() % _LABORATORIES * _SIZE
        return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def _rules(self, change: str, one: str, other: str) -> None:
        for source, target in ((one, other), (other, one)):
            rule = ["-s", self.address(source), "-d", self.address(target), "-j", "DROP"]
            _run(*self.inside(_ROUTER), "iptables", "-w", change, "FORWARD", *rule)


@contextmanager
def laboratory(*machines: str) -> Iterator[Laboratory]:
    """A network with these machines; one at a time in each process."""
    _sweep()
    made = Laboratory(machines)
    try:
        made.build()
        yield made
    finally:
        made.tear_down()


def _sweep() -> None:
    """Remove what tests have left whose process is gone."""
    for name in _namespaces():
        _, _, pid, start, _ = name.split("-")
        if _start_of(int(pid)) != start:
            _remove(f"{_PREFIX}-{pid}-{start}")


def _namespaces() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [each.name for each in Path("/run/netns").iterdir() if _PREFIX in each.name]
    return []


def _remove(owner: str) -> None:
    with contextlib.suppress(_Refused):  # it would go by itself, but some time later
        _run("ip", "link", "delete", f"lab{owner.split('-')[2]}")
    for name in _namespaces():
        if name.startswith(f"{owner}-"):
            with contextlib.suppress(_Refused):  # another test sweeps as well
                for pid in _run("ip", "netns", "pids", name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                _run("ip", "netns", "delete", name)


def _start_of(pid: int) -> str:
    """When a process began, in ticks: another one with its number began later (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise _Refused(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
