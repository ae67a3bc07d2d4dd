"""Read one file with p9fs, a 9P client from PyPI: ``python p9fs_read.py PORT PATH``."""

from __future__ import annotations

import sys


def main() -> None:
    from p9fs import P9FileSystem  # type: ignore[import-not-found]  # not in our environment

    port, path = sys.argv[1:]
    files = P9FileSystem("127.0.0.1", int(port), "nobody", version="9P2000.u")
    with files.open(path, "rb") as file:
        sys.stdout.buffer.write(file.read())


main()
