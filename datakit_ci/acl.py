"""Who may do what: the roles that people have in a project."""

from __future__ import annotations

import enum

__all__ = ["Role"]


class Role(enum.IntEnum):
    """What somebody may do in a project; each role includes those before it."""

    NONE = 0
    READ = 1
    BUILD = 2
    ADMIN = 3
