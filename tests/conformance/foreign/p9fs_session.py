"""A session with p9fs, a 9P client from PyPI; prints what it saw as JSON.

Run by a test, in an environment that has p9fs: ``python p9fs_session.py VERSION PORT``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

BRANCH = "branch/master"
EDIT = f"{BRANCH}/transactions/p9fs"


def connect(version: str, port: int) -> Any:
    from p9fs import P9FileSystem  # type: ignore[import-not-found]  # not in our environment

    return P9FileSystem(
        "127.0.0.1",
        port,
        "nobody",
        version=version,
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def names(files: Any, path: str) -> list[str]:
    return [item["name"].rstrip("/").rpartition("/")[2] for item in files.ls(path)]


def put(files: Any, path: str, content: bytes) -> None:
    with files.open(path, "wb") as file:
        file.write(content)


def commit(files: Any, path: str, content: bytes, message: bytes) -> None:
    """Make a transaction with one file below ``src``."""
    files.mkdir(EDIT, create_parents=False)
    if "src" not in names(files, f"{EDIT}/rw"):
        files.mkdir(f"{EDIT}/rw/src", create_parents=False)
    put(files, f"{EDIT}/rw/src/{path}", content)
    put(files, f"{EDIT}/msg", message)
    put(files, f"{EDIT}/ctl", b"commit")


class Stream:
    """A stream, below p9fs's files: those read only as much as the length says, which is 0."""

    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self._fid = files._open_fid(path, os.O_RDONLY)
        self._offset = 0

    def line(self) -> str:
        """Read up to the empty answer that ends what there is for now."""
        data: bytes = self._files._read(4096, self._offset, self._fid)
        self._offset += len(data)
        return data.decode()


def main(version: str, port: int) -> dict[str, object]:
    files, watcher = connect(version, port), connect(version, port)
    seen: dict[str, object] = {"root": names(files, "")}
    files.mkdir(BRANCH, create_parents=False)
    seen["branch"] = names(files, BRANCH)
    commit(files, "Makefile", b"all: build", b"First")
    stream = Stream(watcher, f"{BRANCH}/head.live")
    lines = [stream.line()]
    blocked = threading.Thread(target=lambda: lines.append(stream.line()))
    blocked.start()
    commit(files, "big", bytes(range(256)) * 1000, b"Second")
    blocked.join(timeout=20)
    seen["live"] = lines
    head = files.cat_file(f"{BRANCH}/head").decode()
    seen["head"] = head
    seen["src"] = names(files, f"{BRANCH}/ro/src")
    seen["makefile"] = files.cat_file(f"{BRANCH}/ro/src/Makefile").decode()
    seen["big"] = files.cat_file(f"{BRANCH}/ro/src/big") == bytes(range(256)) * 1000
    seen["size"] = files.info(f"{BRANCH}/ro/src/big")["size"]
    seen["message"] = files.cat_file(f"snapshots/{head.strip()}/msg").decode()
    files.mkdir(EDIT, create_parents=False)
    files.rm(f"{EDIT}/rw/src/big")
    seen["removed"] = names(files, f"{EDIT}/rw/src")
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
