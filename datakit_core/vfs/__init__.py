"""Node protocols and ready-made nodes: what a program defines to be served over 9P."""

from __future__ import annotations

from datakit_core.vfs.answer import Answer, Deferred, collect, otherwise, then
from datakit_core.vfs.command import CommandFile, weakly
from datakit_core.vfs.directory import DynamicDirectory, StaticDirectory
from datakit_core.vfs.named import Named
from datakit_core.vfs.node import Directory, File, Handle, Kind, Node, Stat, inode_of
from datakit_core.vfs.stream import Latest, Live, Source, StreamFile, StreamHandle
from datakit_core.vfs.text import BytesHandle, MemoryFile, TextFile, read_range, resized, written

__all__ = [
    "Answer",
    "BytesHandle",
    "CommandFile",
    "Deferred",
    "Directory",
    "DynamicDirectory",
    "File",
    "Handle",
    "Kind",
    "Latest",
    "Live",
    "MemoryFile",
    "Named",
    "Node",
    "Source",
    "Stat",
    "StaticDirectory",
    "StreamFile",
    "StreamHandle",
    "TextFile",
    "collect",
    "inode_of",
    "otherwise",
    "read_range",
    "resized",
    "then",
    "weakly",
    "written",
]
