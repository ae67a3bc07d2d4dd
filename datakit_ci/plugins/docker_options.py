"""Options of stages that make sense for work that a container engine does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datakit_ci.policy_options import StagePolicy
from datakit_core.errors import ConfigError

__all__ = ["ContainerOptions", "ImageOptions", "check_known"]


class ImageOptions(StagePolicy, total=False):
    """When and where an image is built or fetched; how a container runs has these, too.

    What a stage's own process may use (``memory``, ``processes``) is not here: the work is done by
    the engine. Nor are secrets of a build, since all that it is given can be read from its image.

    Attributes:
        timeout: Seconds, or text such as ``90s``, ``5m``, ``1h``; then it is stopped.
        pool: What it takes one unit of while it runs.
        locks: Names of which only one build in the service may hold each at a time.
        priority: Larger goes first where builds wait.
        log_limit: How much of its log is kept, such as ``1m``.
        output_limit: How large its outputs may be together.
    """

    timeout: float | str
    pool: str
    locks: Sequence[str]
    priority: int
    log_limit: int | str
    output_limit: int | str


class ContainerOptions(ImageOptions, total=False):
    """Besides these, what a container is told.

    Attributes:
        secrets: Names of secrets, given in variables of the same names; or names by variable.
        facts: What it is told of the target: ``target`` (``DATAKIT_TARGET``) and ``commit``
            (``DATAKIT_COMMIT``).
    """

    secrets: Sequence[str] | Mapping[str, str]
    facts: Sequence[str]


def check_known(what: str, given: Mapping[str, object], known: type) -> None:
    """Refuse an option that makes no sense for ``what``.

    Raises:
        ConfigError: It is none of ``known``, which is one of the classes here.
    """
    # Inherited ones are among the annotations of a TypedDict.
    if unknown := set(given) - set(known.__annotations__):
        options = ", ".join(sorted(known.__annotations__))
        raise ConfigError(f"{what}: there is no option {min(unknown)}; there are {options}")
