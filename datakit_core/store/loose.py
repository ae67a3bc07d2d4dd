"""Loose objects: the file of one object, as Git writes it (gitrepository-layout(5)).

Pure: values to bytes and back.
"""

from __future__ import annotations

import hashlib
import zlib

from datakit_core.store.objects import NewObject, ObjectId

__all__ = ["encode_loose", "is_whole", "loose_id", "loose_name"]

_FASTEST = 1
"""The level at which Git compresses loose objects (core.looseCompression)."""


def loose_name(object_id: ObjectId) -> str:
    """The object's file, below the repository's directory."""
    return f"objects/{object_id[:2]}/{object_id[2:]}"


def loose_id(name: str) -> ObjectId:
    """The object whose file is ``name``."""
    return ObjectId("".join(name.split("/")[-2:]))


def encode_loose(new: NewObject) -> bytes:
    """The content of the object's file."""
    header = b"%s %d\0" % (new.kind.value.encode(), len(new.data))
    return zlib.compress(header + new.data, _FASTEST)


def is_whole(content: bytes, object_id: ObjectId) -> bool:
    """Whether ``content`` is the file of that object, and not what a power cut has left of it."""
    try:
        plain = zlib.decompress(content)
    except zlib.error:
        return False
    return hashlib.sha1(plain, usedforsecurity=False).hexdigest() == object_id
