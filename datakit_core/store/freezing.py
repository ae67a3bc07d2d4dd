"""Naming an edited tree, however large it is, while others have their turn."""

from __future__ import annotations

from datakit_core.store.largeblobs import LargeBlobs
from datakit_core.store.objects import NewObject, TreeId
from datakit_core.store.slices import in_slices
from datakit_core.store.tree import Overlay

__all__ = ["freeze_overlay"]


async def freeze_overlay(
    overlay: Overlay, large: LargeBlobs
) -> tuple[TreeId, tuple[NewObject, ...]]:
    """As :meth:`~datakit_core.store.tree.Overlay.freeze`; long files are stored on the way.

    Nothing may be edited meanwhile. With only a few small files, it does not wait for anything.
    """
    contents = overlay.unstored()
    if contents:
        spools = [content.spool for content in contents if content.spool is not None]
        for content, blob in zip(contents, await large.store(spools), strict=True):
            content.stored = blob
    return await in_slices(overlay.freeze_steps())
