"""The docket: what people have decided, as files on the branch ``control``.

    paused/PROJECT                                a project in which nothing new is started
    confirmed/PROJECT/STAGE/STATIC/KEY            a dangerous build that may run
    cancelled/PROJECT/STAGE/STATIC/KEY            a build that is not to run
    rebuilt/PROJECT/STAGE/STATIC/KEY              a build whose result is to be made again
    approved/PROJECT/NUMBER/COMMIT                a fork's pull request that may be tested

Each file says who, when, and which result it is about. Names are encoded as in ``results/``
branches. The branch is followed, so a file that any other program commits there counts as well.
What else lies there, such as errands (:mod:`datakit_ci.errands`), is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from datakit_ci.filing import write_files
from datakit_ci.rulings import Ruling, Rulings
from datakit_ci.state import BuildId
from datakit_ci.target import Target, TargetKind, decode_name, encode_name
from datakit_core.client.api import BlobId, CommitId, Database, ObjectId, TreeId
from datakit_core.errors import StoreError

__all__ = [
    "APPROVED",
    "BRANCH",
    "Docket",
    "approval_path",
    "build_path",
    "project_path",
    "read_rulings",
]

_log = logging.getLogger(__name__)

BRANCH = "control"

_BUILD_DEPTH = 4
_APPROVAL_DEPTH = 3

APPROVED = "approved"
"""The directory of what people have let through of forks."""

_KINDS = ("paused", "confirmed", "cancelled", "rebuilt", APPROVED)


def project_path(project: str) -> str:
    """The file that says that ``project`` is paused."""
    return f"paused/{encode_name(*project.split('/'))}"


def build_path(kind: str, build: BuildId) -> str:
    """The file that says that ``build`` is ``confirmed``, ``cancelled`` or ``rebuilt``."""
    project, stage = encode_name(*build.project.split("/")), encode_name(build.stage)
    return f"{kind}/{project}/{stage}/{build.static}/{build.key}"


def approval_path(target: Target, commit: CommitId) -> str:
    """The file that says that the pull request ``target`` may be tested at ``commit``."""
    return (
        f"{APPROVED}/{encode_name(*target.project.split('/'))}/{encode_name(target.name)}/{commit}"
    )


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

    async def write(
        self,
        message: str,
        files: Mapping[str, Ruling | None],
        others: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Make ``files`` say this (none: be absent), in one commit, and take it in.

        Args:
            message: For the commit.
            files: Rulings by path.
            others: Further files for the same commit.
        """
        contents = {
            path: None if ruling is None else ruling.to_bytes() for path, ruling in files.items()
        }
        await write_files(self._database, BRANCH, {**contents, **(others or {})}, message)
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
        rulings = Rulings() if head is None else await _rulings_at(self._database, head)
        self._read = head
        if rulings != self.rulings:
            self.rulings = rulings
            self._tell(rulings)


async def read_rulings(database: Database) -> Rulings:
    """What is decided now."""
    head = await database.head(BRANCH)
    return Rulings() if head is None else await _rulings_at(database, head)


async def _rulings_at(database: Database, head: CommitId) -> Rulings:
    return _rulings(await _files(database, (await database.commit(head)).tree))


async def _files(database: Database, root: TreeId) -> Mapping[str, Ruling]:
    """All rulings by path; a damaged one is reported and counts for nothing."""
    found: dict[str, Ruling] = {}
    pending = [
        (kind, entry) for kind, entry in (await database.tree(root)).items() if kind in _KINDS
    ]
    while pending:
        path, entry = pending.pop()
        if entry.is_directory:
            below = await database.tree(TreeId(entry.id))
            pending.extend((f"{path}/{name}", each) for name, each in below.items())
            continue
        try:
            found[path] = Ruling.from_bytes(await database.blob(BlobId(entry.id)))
        except StoreError as error:
            _log.warning("%s in branch %s: %s; it is ignored", path, BRANCH, error)
    return found


def _rulings(files: Mapping[str, Ruling]) -> Rulings:
    paused: dict[str, Ruling] = {}
    approved: dict[tuple[Target, CommitId], Ruling] = {}
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
        elif kind == APPROVED and len(rest) == _APPROVAL_DEPTH:
            project, number, commit = rest
            name = "/".join(decode_name(project))
            target = Target(name, TargetKind.PULL_REQUEST.value, "-".join(decode_name(number)))
            approved[target, CommitId(ObjectId(commit))] = ruling
    return Rulings(paused, **builds, approved=approved)
