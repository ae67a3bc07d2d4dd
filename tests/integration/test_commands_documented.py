"""``docs/commands.md`` has every command and option, and none that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from datakit_ci.bridges.command import app as bridge
from datakit_ci.bridges.github.command import app as github
from datakit_ci.cli import app as ci
from datakit_core.cli import app as database

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
APPS = {
    "datakit": database,
    "datakit-ci": ci,
    "datakit-bridge-github": github,
    "datakit-bridge-local-git": bridge,
}


def parts(name: str) -> dict[str, list[str]]:
    """Every command of a program, "" for the program itself, and its options."""
    return dict(_commands("", typer.main.get_command(APPS[name])))


def _commands(word: str, command: object) -> Iterator[tuple[str, list[str]]]:
    """A command with its options, and those below it."""
    yield word, [flag for each in getattr(command, "params", []) for flag in flags(each)]
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(f"{word} {name}".strip(), below)


def flags(parameter: object) -> Iterator[str]:
    """All spellings of an option; an argument has none."""
    for spelling in (*getattr(parameter, "opts", []), *getattr(parameter, "secondary_opts", [])):
        if spelling.startswith("-"):
            yield spelling


@pytest.mark.parametrize("name", APPS)
def test_every_command_and_option_is_documented(name: str) -> None:
    chapter = re.split(rf"^## `{name}`", TEXT, flags=re.MULTILINE)[1].split("\n## ")[0]
    general = TEXT.split("\n## ")[0]
    for command, options in parts(name).items():
        assert f"{name} {command}".strip() in chapter + general, command
        for option in options:
            assert re.search(rf"`[^`]*{option}\b", chapter + general), f"{name} {command} {option}"


def test_nothing_is_documented_that_there_is_not() -> None:
    known = {option for name in APPS for options in parts(name).values() for option in options}
    written = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", TEXT))
    assert written - known == {"--help"}
    commands = {f"{name} {word}" for name in APPS for word in parts(name)}
    named = re.findall(r"`(datakit|datakit-ci) ([a-z][a-z-]*)\b", TEXT)
    assert {" ".join(words) for words in named} <= commands
