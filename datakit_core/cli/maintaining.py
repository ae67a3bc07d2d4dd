"""``datakit maintain``: at once what a server does when it is due."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from datakit_core.errors import ConfigError

__all__ = ["commands"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

commands = typer.Typer()


@commands.command()
def maintain(
    git: Annotated[
        Path,
        typer.Option(metavar="PATH", help="A repository that no server has.", show_default=False),
    ],
    grace: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="What was written in this time is kept, even if nothing refers to it: a number "
            "and s, m, h, d or w. With 0s, nothing else may use the repository meanwhile.",
        ),
    ] = "2w",
) -> None:
    """Pack objects and refs, and drop what nothing refers to; a server does so by itself."""
    seconds = _seconds(grace)
    before, after = asyncio.run(_maintain(git, seconds))
    typer.echo(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")


async def _maintain(path: Path, grace: float) -> tuple[int, int]:
    from datakit_core.store import Store
    from datakit_core.store.housekeeping import Limits
    from datakit_core.store.maintenance import Maintenance

    async with Store.open(path) as store:
        before = await asyncio.to_thread(_size, store.path)
        await Maintenance(store, Limits(grace=grace)).take_all()
        return before, await asyncio.to_thread(_size, store.path)


def _size(path: Path) -> int:
    """Bytes of the objects in a repository."""
    return sum(file.stat().st_size for file in (path / "objects").rglob("*") if file.is_file())


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise ConfigError(f"{text!r} is not a number and s, m, h, d or w, such as 2w", "--grace")
    return float(int(match[1]) * _UNITS[match[2]])
