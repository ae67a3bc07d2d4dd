"""The sessions of a document, and a shell just big enough to run them on a tree of nodes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from datakit_core.errors import DatakitError
from tests.support.files import Files

__all__ = ["Shell", "Step", "sessions", "without_commits"]

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


def without_commits(text: str) -> str:
    """``text`` without bare hashes: those of commits depend on the time."""
    return re.sub(r"^[0-9a-f]{40}$", "HASH", text, flags=re.MULTILINE)


class Shell:
    """Knows ``ls cat head mkdir``, ``echo TEXT > FILE`` and ``|| echo TEXT``.

    And ``$(cat FILE)`` in arguments.
    """

    def __init__(self, files: Files) -> None:
        """Work at the root of ``files``."""
        self._files = files

    async def run(self, command: str) -> str:
        """What ``command`` prints, but no error; one that is not expected is raised."""
        command, _, otherwise = command.partition(" || echo ")
        for found in _SUBSTITUTION.finditer(command):
            content = (await self._files.read(found[1])).decode().strip()
            command = command.replace(found[0], content)
        try:
            return await self._run(shlex.split(command))
        except DatakitError:
            if not otherwise:
                raise
            return f"{shlex.split(otherwise)[0]}\n"

    async def _run(self, words: list[str]) -> str:
        match words:
            case ["ls", *path]:
                names = await self._files.list(*path)
                return "".join(f"{name}\n" for name in sorted(names))
            case ["cat", path] | ["head", "-n", "1", path]:
                return (await self._files.read(path)).decode()
            case ["mkdir", path]:
                await self._files.make(path)
            case ["echo", text, ">", path]:
                await self._files.write(path, f"{text}\n".encode())
            case _:
                raise AssertionError(f"the document's shell does not know {words}")
        return ""
