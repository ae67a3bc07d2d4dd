"""What pipelines can use besides their own repository: one small file for each kind of thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["PLUGINS"]

PLUGINS: Final[Mapping[str, str]] = {
    "docker": "container images, built, run, or published by others: build, run, published",
    "git": "other Git repositories, their branches, tags and commits: Remote, is_after",
}
"""The modules that pipelines import from here, and what each adds, for people."""
