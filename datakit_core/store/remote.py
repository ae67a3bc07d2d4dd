"""Bringing commits from other repositories, by Git itself.

A URL comes from a client, so it is checked against an allow-list, never reaches a shell, and
cannot ask anybody for a password. What is fetched is kept by a private ref, so that Git's
collection of garbage leaves it alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from datakit_core.errors import InvalidArgument, InvalidName, StoreError
from datakit_core.store.git import (
    GitFailed,
    check_url,
    run_git,
    split_credentials,
    without_credentials,
)
from datakit_core.store.names import check_branch
from datakit_core.store.objects import CommitId, parse_id
from datakit_core.store.refs import FETCHED

__all__ = ["Remotes"]

_TIMEOUT = 600.0

_NOBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,  # credential helpers
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": "/nonexistent",  # .netrc, .git-credentials
}
"""Variables for a Git that knows none of our user's passwords."""

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Remotes:
    """Fetches into one repository; one at a time from each URL."""

    def __init__(self, repository: Path, *, timeout: float = _TIMEOUT) -> None:
        """Fetch into ``repository``.

        Args:
            repository: The bare repository's directory.
            timeout: Seconds after which a fetch is given up.
        """
        self._repository = repository
        self._timeout = timeout
        self._busy: dict[str, tuple[asyncio.Lock, int]] = {}

    async def fetch(self, url: str, ref: str, *, anonymous: bool = False) -> CommitId:
        """Bring ``ref`` of ``url`` and its history here.

        Args:
            url: A URL with an allowed scheme, or an absolute path.
            ref: A full ref name, or the 40 digits of a commit where the other side allows that.
            anonymous: Whether passwords that our user has stored stay unused over HTTP.

        Raises:
            InvalidArgument: The URL or the ref is not allowed.
            StoreError: Git could not fetch it; says why, without credentials.
        """
        check_url(url)
        _check_ref(ref)
        digest = hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:16]
        kept = f"{FETCHED}{digest}/{ref}"
        shown, variables = split_credentials(url)
        if anonymous and shown.startswith("http"):
            variables = {**variables, **_NOBODY}
        async with self._turn(url):
            try:
                async with asyncio.timeout(self._timeout):
                    await run_git(
                        self._repository,
                        "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--force",
                        "--no-auto-maintenance", "--no-recurse-submodules", "--",
                        shown, f"+{ref}:{kept}", variables=variables,
                    )  # fmt: skip
                    found = await self._commit_at(kept)
            except TimeoutError:
                raise StoreError(
                    f"fetching {without_credentials(url)} took over {self._timeout:.0f} s"
                ) from None
            except GitFailed as error:
                raise StoreError(
                    f"cannot fetch {ref} from {without_credentials(url)}: {error}"
                ) from None
        return CommitId(parse_id(found.strip()))

    async def _commit_at(self, ref: str) -> str:
        """What was fetched; Git says nothing when it takes nothing from a shallow repository."""
        try:
            return await run_git(
                self._repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"
            )
        except GitFailed as error:
            raise GitFailed(
                "it gave no commit; if it is shallow, run there: git fetch --unshallow",
                error.output,
            ) from None

    @asynccontextmanager
    async def _turn(self, url: str) -> AsyncIterator[None]:
        lock, users = self._busy.get(url, (asyncio.Lock(), 0))
        self._busy[url] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._busy[url]
            if users == 1:
                del self._busy[url]
            else:
                self._busy[url] = (lock, users - 1)


def _check_ref(ref: str) -> None:
    if _COMMIT.match(ref):
        return
    if not ref.startswith("refs/") or ref.count("/") < 2:
        raise InvalidArgument(f"{ref!r} is not a full ref name such as refs/heads/main")
    try:
        check_branch(ref.removeprefix("refs/"))
    except InvalidName as error:
        raise InvalidArgument(f"{ref!r} is not a ref name") from error
