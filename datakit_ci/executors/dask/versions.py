"""Which engines and workers fit together.

What travels between them is pickled by Dask, a build's function is fingerprinted by the syntax tree
of one Python, and orders have the format of one DataKit: so all three have to be the same. Each
worker announces a resource that is named after its versions, and each engine asks for the one that
is named after its own: the scheduler cannot send a build to where it does not fit.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Self

import datakit_core

__all__ = ["PLENTY", "Versions"]

PLENTY = 1e9
"""Units of the resource that says what fits; each build takes one."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What has to be the same at both ends.

    Attributes:
        python: Without the last number: those differ by mended faults only.
        datakit: DataKit's.
        dask: That of ``distributed``.
    """

    python: str
    datakit: str
    dask: str

    @classmethod
    def own(cls) -> Self:
        """Those of this process."""
        python = ".".join(platform.python_version_tuple()[:2])
        return cls(python, datakit_core.__version__, version("distributed"))

    @classmethod
    def read(cls, value: object) -> Self | None:
        """What another process has said; none if it makes no sense."""
        match value:
            case {"python": str(python), "datakit": str(datakit), "dask": str(dask)}:
                return cls(python, datakit, dask)
            case _:
                return None

    def __str__(self) -> str:
        return f"DataKit {self.datakit}, Python {self.python}, Dask {self.dask}"

    @property
    def resource(self) -> str:
        """The name of the resource that workers of these versions have."""
        return f"datakit {self.datakit}, Python {self.python}, Dask {self.dask}"

    def to_json(self) -> Mapping[str, str]:
        """As :meth:`read` reads it."""
        return asdict(self)

    def misfit(self, other: Versions) -> str:
        """What of ``other`` is not as here, for people; empty: it fits."""
        pairs = (
            ("Python", other.python, self.python),
            ("DataKit", other.datakit, self.datakit),
            ("Dask", other.dask, self.dask),
        )
        return ", ".join(
            f"{name} {theirs} instead of {ours}" for name, theirs, ours in pairs if theirs != ours
        )
