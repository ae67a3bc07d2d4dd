"""``datakit mount``: the command with which the Linux kernel mounts a server."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from datakit_core.errors import ConfigError
from datakit_core.ninep.endpoint import (
    Endpoint,
    FdEndpoint,
    TcpEndpoint,
    TlsEndpoint,
    UnixEndpoint,
    parse_endpoint,
)

__all__ = ["command_for", "commands"]

commands = typer.Typer()

_FILE_SYSTEMS = Path("/proc/filesystems")
_DEFAULT_ADDRESS = "tcp://127.0.0.1:5640"

_OPTIONS = ("version=9p2000.L", "access=user", "cache=none", "msize=131072", "noxattr")
"""9P2000.L is the kernel's own dialect: files move between directories in one step, ``rmdir``
spares directories that are not empty, and branch names come without slashes, which the kernel does
not take in a listing. With an attach for each user, everybody owns what they see and may write;
otherwise only root could. Nothing may be cached, since others commit. There are no extended
attributes, for which the kernel would ask before each first write."""


@commands.command()
def mount(
    directory: Annotated[Path, typer.Argument(help="Where to mount.")] = Path("/mnt"),
    connect: Annotated[
        str, typer.Option(metavar="URL", envvar="DATAKIT_URL", help="The server.")
    ] = _DEFAULT_ADDRESS,
    run: Annotated[
        bool, typer.Option("--run", help="Run the command instead of printing it.")
    ] = False,
) -> None:
    """Print, or run, the mount command for a server.

    It is the Linux kernel that mounts. Only root may do that, so the command uses sudo unless
    you are root. umount ends it.
    """
    command = command_for(
        parse_endpoint(connect or _DEFAULT_ADDRESS), directory.absolute(), root=os.geteuid() == 0
    )
    if not run:
        typer.echo(shlex.join(command))
        return
    if not directory.is_dir():
        raise ConfigError(f"{directory} is not a directory; make it first")
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}") from error
    if code and "\t9p\n" not in _FILE_SYSTEMS.read_text():
        raise ConfigError(
            "this kernel does not know 9P: load its module with modprobe 9p, or install the "
            "package with all modules of the kernel; containers and cloud kernels often lack it"
        )
    if code:
        raise typer.Exit(code)  # mount has said why


def command_for(endpoint: Endpoint, directory: Path, *, root: bool) -> list[str]:
    """The words of the command.

    Raises:
        ConfigError: The kernel cannot mount such a server.
    """
    transport, device = _transport(endpoint)
    options = ",".join([*transport, *_OPTIONS])
    words = ["mount", "-t", "9p", "-o", options, device, str(directory)]
    return words if root else ["sudo", *words]


def _transport(endpoint: Endpoint) -> tuple[list[str], str]:
    """Options and device for the kernel."""
    match endpoint:
        case TcpEndpoint(host, port):
            return ["trans=tcp", f"port={port}"], _address(host)
        case UnixEndpoint(path):
            return ["trans=unix"], str(path)
        case TlsEndpoint():
            raise ConfigError(
                f"the kernel cannot mount {endpoint}, which speaks TLS; mount a TCP or Unix "
                "socket on the server's machine, or tunnel one with ssh -L"
            )
        case FdEndpoint():
            raise ConfigError(f"{endpoint} means nothing to another program; give tcp or unix")


def _address(host: str) -> str:
    """The host as a number: the kernel looks no names up, and knows IPv4 everywhere."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{host} has no IPv4 address, which the kernel needs: {error}") from error
    return str(found[0][4][0])
