"""Scratch databases: the contents of another one, to be worked in and thrown away.

Objects are borrowed and not copied, and the branches are those of one moment; so it costs next to
nothing, whoever serves the other one is not disturbed, and nothing that is done here reaches it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from datakit_ci.docket import BRANCH as CONTROL
from datakit_core.client.api import CommitId
from datakit_core.client.readonly import open_read_only

__all__ = ["scratch_copy"]

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


@contextmanager
def scratch_copy(database: Path, heads: Mapping[str, CommitId], *others: Path) -> Iterator[Path]:
    """A bare repository with the branches ``heads`` of ``database``, until the context is left.

    Objects of ``others`` are there as well. What people have decided stays behind: who has
    confirmed a deployment did not mean this one.
    """
    with TemporaryDirectory(prefix="datakit-scratch-") as directory:
        path = Path(directory) / "database.git"
        (path / "objects" / "info").mkdir(parents=True)
        (path / "refs" / "heads").mkdir(parents=True)
        alternates = [os.fsencode((each / "objects").absolute()) for each in (database, *others)]
        (path / "objects" / "info" / "alternates").write_bytes(b"\n".join(alternates) + b"\n")
        (path / "HEAD").write_text("ref: refs/heads/main\n")
        (path / "config").write_text(_CONFIG)
        refs = {name: head for name, head in heads.items() if name != CONTROL}
        packed = "".join(f"{head} refs/heads/{name}\n" for name, head in sorted(refs.items()))
        (path / "packed-refs").write_bytes(os.fsencode(packed))
        with open_read_only(path):  # says what is wrong with it
            pass
        yield path
