"""The docket: what people have decided, as files on the branch ``control``.

    paused/PROJECT                                a project in which nothing new is started
    confirmed/PROJECT/STAGE/STATIC/KEY            a dangerous build that may run
    cancelled/PROJECT/STAGE/STATIC/KEY            a build that is not to run
    rebuilt/PROJECT/STAGE/STATIC/KEY              a build whose result is to be made again

Each file says who, when, and which result it is about. Names are encoded as in ``results/``
branches. The branch is followed, so a file that any other program commits there counts as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from datakit_ci.history import write_files
from datakit_ci.rulings import Ruling, Rulings
from datakit_ci.state import BuildId
from datakit_ci.target import decode_name, encode_name
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import StoreError

__all__ = ["BRANCH", "Docket", "build_path", "project_path"]

_log = logging.getLogger(__name__)

BRANCH = "control"

_BUILD_DEPTH = 4


def project_path(project: str) -> str:
    """The file that says that ``project`` is paused."""
    return f"paused/{encode_name(*project.split('/'))}"


def build_path(kind: str, build: BuildId) -> str:
    """The file that says that ``build`` is ``confirmed``, ``cancelled`` or ``rebuilt``."""
    project, stage = encode_name(*build.project.split("/")), encode_name(build.stage)
    return f"{kind}/{project}/{stage}/{build.static}/{build.key}"


class Docket:
    """Reads and writes what is decided.

    Attributes:
        rulings: What is decided now.
    """

    def __init__(self, database: Database, tell: Callable[[Rulings], None]) -> None:
        """Keep it in ``database``; ``tell`` is given what is decided, whenever that changes."""
        self.rulings = Rulings()
        self._database = database
        self._tell = tell
        self._read: CommitId | None = None

    async def load(self) -> None:
        """Read what is decided now."""
        await self._look(await self._database.head(BRANCH))

    async def follow(self) -> None:
        """Take in what others decide; never ends by itself."""
        async for head in self._database.watch_head(BRANCH):
            await self._look(head)

    async def write(self, message: str, files: Mapping[str, Ruling | None]) -> None:
        """Make ``files`` say this (none: be absent), in one commit, and take it in."""
        contents = {
            path: None if ruling is None else ruling.to_bytes() for path, ruling in files.items()
        }
        await write_files(self._database, BRANCH, contents, message)
        await self.load()

    async def clear(self, builds: Iterable[BuildId]) -> None:
        """Remove what is decided about ``builds``: they have their results."""
        files: dict[str, Ruling | None] = {
            build_path(kind, build): None for build in builds for kind in self.rulings.about(build)
        }
        if files:
            await self.write("Done", files)

    async def _look(self, head: CommitId | None) -> None:
        if head == self._read:
            return
        files = {} if head is None else await self._files((await self._database.commit(head)).tree)
        rulings = _rulings(files)
        self._read = head
        if rulings != self.rulings:
            self.rulings = rulings
            self._tell(rulings)

    async def _files(self, root: TreeId) -> Mapping[str, Ruling]:
        """All rulings by path; a damaged one is reported and counts for nothing."""
        found: dict[str, Ruling] = {}
        pending = [("", root)]
        while pending:
            directory, tree = pending.pop()
            for name, entry in (await self._database.tree(tree)).items():
                path = f"{directory}{name}"
                if entry.is_directory:
                    pending.append((f"{path}/", TreeId(entry.id)))
                    continue
                try:
                    content = await self._database.blob(BlobId(entry.id))
                    found[path] = Ruling.from_bytes(content)
                except StoreError as error:
                    _log.warning("%s in branch %s: %s; it is ignored", path, BRANCH, error)
        return found


def _rulings(files: Mapping[str, Ruling]) -> Rulings:
    paused: dict[str, Ruling] = {}
    builds: dict[str, dict[BuildId, Ruling]] = {"confirmed": {}, "cancelled": {}, "rebuilt": {}}
    for path, ruling in files.items():
        kind, *rest = path.split("/")
        if kind == "paused" and len(rest) == 1:
            paused["/".join(decode_name(rest[0]))] = ruling
        elif kind in builds and len(rest) == _BUILD_DEPTH:
            project, stage, static, key = rest
            build = BuildId(
                "/".join(decode_name(project)), "-".join(decode_name(stage)), static, key
            )
            builds[kind][build] = ruling
    return Rulings(paused, **builds)
