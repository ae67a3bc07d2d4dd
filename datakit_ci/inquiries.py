"""What has to be known to say which pipeline judges a target: read from the database.

The answers to the needs that :mod:`datakit_ci.judge` puts into its terms.
"""

from __future__ import annotations

import asyncio
from typing import Any

from datakit_ci.blueprint import decode
from datakit_ci.metadata import BRANCH, parse_field
from datakit_ci.need import JobsIn, Need, PipelineTree, PullRequestOf
from datakit_ci.pullrequest import FIELDS, PullRequest
from datakit_ci.target import Target
from datakit_ci.tree import Tree
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import ConfigError

__all__ = ["GRAPH", "Inquiries"]

GRAPH = "graph.json"
"""The file that the process of a pipeline leaves."""


class Inquiries:
    """Answers needs about pipelines and pull requests."""

    def __init__(self, database: Database) -> None:
        """Look in ``database``."""
        self._database = database

    async def look(self, need: Need[Any]) -> object:
        """The answer to one need.

        Raises:
            ConfigError: There is no such pipeline, or it has written what is no graph.
        """
        match need:
            case PullRequestOf(target=target):
                return await self._pull_request(target)
            case PipelineTree(commit=commit, path=path):
                return await self._pipeline(commit, path)
            case JobsIn():
                return await self._jobs(need)
            case _:
                raise TypeError(f"nobody answers {need!r}")

    async def _pull_request(self, target: Target) -> PullRequest:
        """What is said of it now; the engine asks again when that changes."""
        head = await self._database.head(BRANCH)
        if head is None:
            return PullRequest()
        root = (await self._database.commit(head)).tree
        directory = await self._database.entry(root, target.path)
        if directory is None or not directory.is_directory:
            return PullRequest()
        files = await self._database.tree(TreeId(directory.id))
        return PullRequest.parse(
            {
                name: parse_field(await self._database.blob(BlobId(files[name].id)))
                for name in FIELDS
                if name in files and not files[name].is_directory
            }
        )

    async def _pipeline(self, commit: CommitId, path: str) -> Tree:
        root = (await self._database.commit(commit)).tree
        directory, _, name = path.rpartition("/")
        found = await self._database.entry(root, directory)
        if found is not None and found.is_directory:
            tree = TreeId(found.id)
            file = await self._database.entry(tree, name)
            if file is not None and not file.is_directory:
                return Tree(tree)
        raise ConfigError(f"there is no {path} in {commit[:12]}")

    async def _jobs(self, need: JobsIn) -> object:
        data = await self._database.read(need.output, GRAPH)
        # Its author decides how long this takes, within limits.
        return await asyncio.to_thread(decode, data, need.project, need.origin)
