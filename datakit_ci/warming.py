"""The results of a service that is reached by HTTP: fetched from its ``/db.git`` before a run.

Of each branch of results only the newest commit is fetched, which has all results that are kept
there. The copy stays beside the state, so that the next time only what is new is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from datakit_ci.target import encode_name
from datakit_core.errors import ConfigError
from datakit_core.store.git import GitFailed, run_git, split_credentials

__all__ = ["fetch_results", "is_web_address"]


def is_web_address(source: str) -> bool:
    """Whether ``source`` is a URL that Git reads by HTTP, and not one of 9P."""
    return source.startswith(("https://", "http://"))


async def fetch_results(url: str, projects: Iterable[str], directory: Path) -> Path:
    """Fetch the results of ``projects``; the path of the bare repository that has them then.

    Args:
        url: Of a repository, such as ``https://ci.example.org/db.git``; may hold credentials.
        projects: Their names, ``USER/REPO``.
        directory: Where copies of such repositories are kept.

    Raises:
        ConfigError: It cannot be fetched; says what Git has said.
    """
    shown, variables = split_credentials(url)
    path = directory / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.git"
    folders = [f"refs/heads/results/{encode_name(*each.split('/'))}" for each in projects]
    try:
        if not (path / "HEAD").exists():
            path.mkdir(parents=True, exist_ok=True)
            await run_git(path, "init", "--quiet", "--bare", str(path))
        await run_git(
            path, "fetch", "--quiet", "--depth=1", "--prune", "--no-tags", "--no-write-fetch-head",
            "--", shown, *(f"+{each}/*:{each}/*" for each in folders),
            variables=variables,
        )  # fmt: skip
    except GitFailed as error:
        needs_token = "uthentication" in str(error) or "Username" in str(error)
        hint = "; give the file with a good API token by --token-file" if needs_token else ""
        raise ConfigError(f"{shown}: {error}{hint}", "--warm") from error
    return path
