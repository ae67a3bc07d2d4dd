"""The shapes of pipelines in rows of lists, drawn once for each state of a target."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from markupsafe import Markup

from datakit_ci.dashboard.graph import Glyph, glyph
from datakit_ci.state import GraphNode

__all__ = ["Sketches", "drawn"]

_KEPT = 2048
"""Sketches, of a few kilobytes each."""


def drawn(shape: Glyph) -> Markup:
    """A shape as SVG: dots in their states, and lines between them. There is no text in it."""
    size = f'width="{shape.width}" height="{shape.height}"'
    lines = "".join(
        f'<path d="M{x1} {y1}C{x1 + 9} {y1} {x2 - 9} {y2} {x2} {y2}"/>'
        for x1, y1, x2, y2 in shape.lines
    )
    dots = "".join(
        f'<circle class="s-{status.value}" cx="{x}" cy="{y}" r="4"/>' for x, y, status in shape.dots
    )
    return Markup(  # noqa: S704 - numbers, and names of states
        f'<svg class="sketch" {size} viewBox="0 0 {shape.width} {shape.height}" '
        f'aria-hidden="true">{lines}{dots}</svg>'
    )


class Sketches:
    """Keeps those that were looked at last, by the identity of the nodes, which never change."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: OrderedDict[int, tuple[Sequence[GraphNode], Markup]] = OrderedDict()

    def of(self, nodes: Sequence[GraphNode]) -> Markup:
        """The sketch of a pipeline; empty if it has no shape, or is too large."""
        kept = self._kept.get(id(nodes))
        if kept is not None:
            self._kept.move_to_end(id(nodes))
            return kept[1]
        shape = glyph(nodes)
        sketch = Markup() if shape is None else drawn(shape)
        self._kept[id(nodes)] = nodes, sketch
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return sketch
