"""Where things are in the API; nothing here is slow to import, as the command line needs it too."""

from __future__ import annotations

from urllib.parse import quote

from datakit_ci.state import BuildId
from datakit_ci.target import Target

__all__ = ["PREFIX", "build_url", "project_url", "quoted", "target_url"]

PREFIX = "/api/v1"
"""What every address of the API begins with."""


def project_url(project: str) -> str:
    """The address of a project."""
    return f"{PREFIX}/projects/" + "/".join(quoted(part) for part in project.split("/"))


def target_url(target: Target) -> str:
    """The address of a target."""
    return f"{project_url(target.project)}/targets/{target.kind_value}/{quoted(target.name)}"


def build_url(build: BuildId) -> str:
    """The address of a build."""
    place = f"{quoted(build.stage)}/{build.static}/{build.key}"
    return f"{project_url(build.project)}/builds/{place}"


def quoted(name: str) -> str:
    """A name as one part of an address, whatever bytes it has."""
    return quote(name.encode(errors="surrogateescape"), safe="")
