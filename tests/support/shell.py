"""Runs the sessions of a document: a shell just big enough for them, on a tree of nodes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from datakit_core.errors import DatakitError, to_file_error
from tests.support.files import Files

__all__ = ["Shell", "Step", "sessions"]

_SESSION = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SUBSTITUTION = re.compile(r"\$\(cat ([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a session, and what the document says that it prints."""

    command: str
    output: str


def sessions(document: str) -> list[Step]:
    """The steps of all blocks that are marked ``console``, in their order."""
    steps: list[Step] = []
    for block in _SESSION.findall(document):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            steps.append(Step(command, output))
    return steps


class Shell:
    """Knows ``ls cat head mkdir`` and ``echo TEXT > FILE``, and ``$(cat FILE)`` in arguments."""

    def __init__(self, files: Files) -> None:
        """Work at the root of ``files``."""
        self._files = files

    async def run(self, command: str) -> str:
        """What ``command`` prints; an error is its text."""
        for found in _SUBSTITUTION.finditer(command):
            content = (await self._files.read(found[1])).decode().strip()
            command = command.replace(found[0], content)
        try:
            return await self._run(shlex.split(command))
        except DatakitError as error:
            return f"{to_file_error(error).text}\n"

    async def _run(self, words: list[str]) -> str:
        match words:
            case ["ls"]:
                return "".join(f"{name}\n" for name in await self._files.list())
            case ["ls", path]:
                return "".join(f"{name}\n" for name in await self._files.list(path))
            case ["cat", path] | ["head", "-n", "1", path]:
                return (await self._files.read(path)).decode()
            case ["mkdir", path]:
                await self._files.make(path)
            case ["echo", text, ">", path]:
                await self._files.write(path, f"{text}\n".encode())
            case _:
                raise AssertionError(f"the document's shell does not know {words}")
        return ""
