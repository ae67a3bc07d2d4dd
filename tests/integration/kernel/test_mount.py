"""A Linux kernel mounts DataKit and works on it as people do, in each dialect.

One guest runs all the checks of a dialect, since most of the time goes into the boot; each check
is a test of its own nevertheless. When tests run in several processes, the first one that needs
a guest boots it for the others. ``make kernels`` does the same with an ordinary kernel in QEMU.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from datakit_core.cli.mounting import command_for
from datakit_core.ninep.endpoint import TcpEndpoint
from tests.integration.kernel import document
from tests.integration.kernel.checks import ALL, CHECKS, LINUX, PLAIN, UNIX, Check
from tests.support import guest, machines
from tests.support.shell import without_commits

MACHINE = machines.chosen()

pytestmark = [pytest.mark.foreign, pytest.mark.timeout(180 * MACHINE.slowness)]

CHECKOUT = Path(__file__).parents[3]

MOUNT = """\
mkdir -p /mnt /hello
{command}
mount -t 9p -o trans=tcp,port={hello},version={dialect},cache=none {host} /hello
grep -c ' 9p ' /proc/mounts
"""
DOCUMENT = "99_document"
BEFORE = """\
tx=branch/main/transactions
cd /mnt
"""


@contextlib.contextmanager
def serving(*command: str | Path) -> Iterator[int]:
    """A server in a process of its own, and its port."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"tcp://127\.0\.0\.1:(\d+)", server.stdout.readline())
        assert found is not None, f"{command} does not serve"
        yield int(found[1])
    finally:
        server.kill()
        server.communicate()


def mount_command(port: int, dialect: str) -> str:
    """What ``datakit mount`` prints, or the same for another dialect."""
    endpoint = TcpEndpoint(guest.HOST, port)
    command = shlex.join(command_for(endpoint, Path("/mnt"), root=True))
    options = {LINUX: "", UNIX: ",aname=posix", PLAIN: ",aname=posix,dfltuid=1000"}[dialect]
    return command.replace(f"version={LINUX}", f"version={dialect}{options}")


def script_name(check: Check) -> str:
    return f"{CHECKS.index(check) + 1:02}_{check.name}"


def boot(dialect: str, place: Path) -> dict[str, guest.Outcome]:
    """Do all checks of a dialect on a mount of a new database."""
    listen = "--listen-9p=tcp://127.0.0.1:0"
    with (
        serving("datakit_core.cli", "serve", "--git", place / "db.git", listen) as port,
        serving("datakit_core.cli", "serve", "--git", place / "document.git", listen) as documented,
        serving("examples.hello_9p", "tcp://127.0.0.1:0") as hello,
    ):
        command = mount_command(port, dialect)
        mount = MOUNT.format(command=command, hello=hello, dialect=dialect, host=guest.HOST)
        mount_document = document.mount_command(guest.HOST, documented, dialect)
        scripts = {DOCUMENT: f"umount /mnt\n{mount_document}\n{document.script()}"} | {
            script_name(check): BEFORE + check.script
            for check in CHECKS
            if dialect in check.dialects
        }
        outcomes, console = guest.run(MACHINE, place, {"00_mount": mount} | scripts)
    assert outcomes.get("00_mount") == guest.Outcome("2\n", 0), console
    return outcomes


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of a test run meet."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def dialect(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="session")
def outcomes(dialect: str, places: Path) -> dict[str, guest.Outcome]:
    """What became of the checks of a dialect."""
    if packages := guest.missing(MACHINE):
        message = f"no guest can be booted; install {packages}"
        if "DATAKIT_GUEST" in os.environ:
            pytest.fail(message)
        pytest.skip(message)
    place = places / f"kernel-{dialect}"
    place.mkdir(exist_ok=True)
    report = place / "report.json"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not report.exists():
            found = boot(dialect, place)
            report.write_text(json.dumps({name: asdict(one) for name, one in found.items()}))
    return {name: guest.Outcome(**one) for name, one in json.loads(report.read_text()).items()}


@pytest.mark.parametrize(
    ("dialect", "check"),
    [
        pytest.param(dialect, check, id=f"{dialect}-{check.name}")
        for dialect in ALL
        for check in CHECKS
        if dialect in check.dialects
    ],
    indirect=["dialect"],
    scope="session",
)
def test_a_mount(check: Check, outcomes: dict[str, guest.Outcome]) -> None:
    name = script_name(check)
    assert name in outcomes, "the guest did not come so far"
    seen = outcomes[name].output.replace("branch/main/transactions", "TX")
    assert (seen, outcomes[name].status) == (check.output, 0)


@pytest.mark.parametrize("dialect", ALL, indirect=True, scope="session")
def test_the_sessions_of_the_document_print_what_it_shows(
    outcomes: dict[str, guest.Outcome],
) -> None:
    outcome = outcomes[DOCUMENT]
    printed = document.printed(outcome.output)
    for step, seen in zip(document.STEPS, printed, strict=False):
        assert seen == without_commits(step.output), step.command
    assert (len(printed), outcome.status) == (len(document.STEPS), 0)
