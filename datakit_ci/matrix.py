"""Matrices: one stage with every combination of some parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from datakit_ci.options import check_name
from datakit_ci.stage import Stage
from datakit_ci.term import Term, all_, return_
from datakit_ci.tree import Tree
from datakit_core.errors import ConfigError

__all__ = ["Matrix", "Named", "matrix"]

Axis: TypeAlias = "Sequence[object] | Term[Any]"
"""The values of one parameter, or a term of them."""

_OUTSIDE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A stage with the values of its parameters; call it on a term with a tree.

    Attributes:
        stage: What runs in each cell.
        axes: The values by parameter.
    """

    stage: Stage[...]
    axes: Mapping[str, Axis]

    def __call__(self, source: Term[Tree]) -> Term[Mapping[str, Tree]]:
        """The outputs of all cells for ``source``, by the cell's name such as ``3.12-sqlite``.

        Where the values of a parameter are a term, the cells are in the graph once it is known.
        """
        given = [term if isinstance(term, Term) else return_(term) for term in self.axes.values()]
        if self.is_static:
            return _together(self._cells(source, list(self.axes.values())))
        return all_(given).bind(
            lambda values: _together(self._cells(source, values)), f"matrix {self.stage.name}"
        )

    def jobs(self, source: Term[Tree]) -> Mapping[str, Term[Tree]]:
        """A job for each cell, called after the stage and the cell: ``unit/3.12-sqlite``.

        Raises:
            ConfigError: The values of a parameter are a term: jobs have to be known beforehand.
        """
        if not self.is_static:
            raise ConfigError(
                f"the cells of the matrix of {self.stage.name} are known only later, and cannot "
                "be jobs: call the matrix to have one job for all of them"
            )
        cells = self._cells(source, list(self.axes.values()))
        return {f"{self.stage.name}/{name}": term for name, term in cells.items()}

    @property
    def is_static(self) -> bool:
        """Whether all values are known beforehand."""
        return not any(isinstance(values, Term) for values in self.axes.values())

    def _cells(self, source: Term[Tree], axes: Sequence[object]) -> dict[str, Term[Tree]]:
        checked = [
            _checked(self.stage, axis, values) for axis, values in zip(self.axes, axes, strict=True)
        ]
        cells: dict[str, Term[Tree]] = {}
        for values in itertools.product(*checked):
            name = "-".join(_OUTSIDE.sub("_", str(value)) for value in values)
            check_name("cell", name)
            if name in cells:
                raise ConfigError(f"matrix of {self.stage.name}: there are two cells {name}")
            cells[name] = self.stage(source, **dict(zip(self.axes, values, strict=True)))
        return cells


@dataclass(frozen=True, slots=True)
class Named:
    """Gives values their names, in order.

    Attributes:
        names: One for each value.
    """

    names: tuple[str, ...]

    def __call__(self, values: Sequence[Tree]) -> Mapping[str, Tree]:
        """``values`` by name."""
        return dict(zip(self.names, values, strict=True))


def matrix(stage: Stage[...], /, **axes: Axis) -> Matrix:
    """Every combination of some parameters: ``matrix(unit, python=["3.11", "3.12"])``.

    Args:
        stage: A function's parameters are given by name; a command finds them as environment
            variables of exactly these names. They are part of the key of each result.
        axes: The values by parameter: lists, or terms whose values are lists.

    Raises:
        ConfigError: There is no parameter, or one has no list of values.
    """
    if not isinstance(stage, Stage):
        raise ConfigError(f"matrix() needs a stage, not {stage!r}")
    if not axes:
        raise ConfigError(f"matrix of {stage.name}: give at least one parameter and its values")
    for axis, values in axes.items():
        if not isinstance(values, Term):
            _checked(stage, axis, values)
    return Matrix(stage, axes)


def _checked(stage: Stage[...], axis: str, values: object) -> Sequence[object]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"matrix of {stage.name}: {axis} is a list of values, not {values!r}")
    return values


def _together(cells: Mapping[str, Term[Tree]]) -> Term[Mapping[str, Tree]]:
    return all_(cells.values()).map(Named(tuple(cells)), "cells")
