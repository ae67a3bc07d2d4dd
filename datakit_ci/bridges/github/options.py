"""What the bridge is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_core.metrics.address import Address

__all__ = ["DEFAULT_TOKEN", "PUBLIC", "AppIdentity", "Options"]

PUBLIC: Final = "https://api.github.com"
"""The API of github.com; GitHub Enterprise has ``https://HOST/api/v3``."""

DEFAULT_TOKEN: Final = Path("/run/secrets/github-token")
"""Where the token is if nobody says where: as Docker and Kubernetes mount secrets."""


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """A GitHub App, and for whom it works.

    Attributes:
        id: The App's id.
        key: The file with its private key, in PEM.
        installation: The installation's id.
    """

    id: str
    key: Path
    installation: str


@dataclass(frozen=True, slots=True)
class Options:
    """All of it, checked as far as that can be done without looking anywhere.

    Attributes:
        datakit: The database: ``tcp://``, ``unix://`` or ``git:PATH``.
        branch: Where the metadata are.
        repositories: ``USER/REPO`` of what to watch, beside those that are marked.
        capabilities: What may be read and written.
        api: GitHub's API.
        clone: What comes before ``/USER/REPO.git`` in the addresses to fetch from.
        token: The file with the token.
        app: Who the bridge is, instead of the user that a token belongs to.
        webhook: The address that GitHub sends events to; empty for none.
        webhook_listen: Where this machine receives them.
        webhook_secret: The file with the secret that they are signed with.
        resync: Seconds between two looks.
        prometheus: Where to serve metrics.
        fetch: Whether to bring commits into the database.
    """

    datakit: str
    branch: str
    repositories: tuple[str, ...]
    capabilities: Capabilities
    api: str
    clone: str
    token: Path | None
    app: AppIdentity | None
    webhook: str
    webhook_listen: Address
    webhook_secret: Path | None
    resync: float
    prometheus: Address | None
    fetch: bool
