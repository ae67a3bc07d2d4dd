"""``datakit-ci users``: accounts of the dashboard, while it runs or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from datakit_ci.cli.options import AccountsDirectory
from datakit_core.errors import ConfigError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.accounts import AccountBook

__all__ = ["commands"]

commands = typer.Typer(
    name="users",
    help="Accounts that log in to the dashboard with a password; changes count at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]


@commands.command(name="list")
def list_(*, accounts: AccountsDirectory = None) -> None:
    """List the accounts, and which of them are administrators."""
    for name, account in sorted(_book(accounts).accounts.items()):
        role = "admin" if account.is_admin else "user"
        typer.echo(f"{role:<6} {account.created:%Y-%m-%d}  {name}")


@commands.command()
def add(
    name: Name,
    *,
    admin: Annotated[
        bool, typer.Option("--admin", help="They may do everything.", show_default=False)
    ] = False,
    accounts: AccountsDirectory = None,
) -> None:
    """Make an account; the password is asked for, or is the first line of standard input.

    What it may do is said in the pipeline, by username("NAME").
    """
    _book(accounts).add(name, _password(), is_admin=admin)


@commands.command()
def password(name: Name, *, accounts: AccountsDirectory = None) -> None:
    """Give an account another password; whoever is logged in with it is logged out."""
    _book(accounts).set_password(name, _password())


@commands.command()
def remove(name: Name, *, accounts: AccountsDirectory = None) -> None:
    """Remove an account, its sessions and its API tokens."""
    _book(accounts).remove(name)


def _book(directory: Path | None) -> AccountBook:
    from datakit_ci.accounts import AccountBook
    from datakit_ci.clock import SystemClock

    return AccountBook.open(directory or _beside_database(), SystemClock().now)


def _beside_database() -> Path:
    """Where the service of the checkout around the current directory keeps them."""
    from datakit_ci.checkout import Checkout

    try:
        return Checkout.around(Path.cwd()).root / ".datakit" / "database.accounts"
    except ConfigError:
        raise ConfigError("name the service's directory: --accounts DIRECTORY") from None


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    given: str = typer.prompt("Password", hide_input=True, confirmation_prompt="Again")
    return given
