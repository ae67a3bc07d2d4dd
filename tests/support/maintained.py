"""A server that maintains its repository all the time: ``python -m tests.support.maintained PATH``.

It prints where it serves, as ``datakit serve`` does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from datakit_core.server import serve_store
from datakit_core.store import Store
from datakit_core.store.housekeeping import Limits
from datakit_core.store.maintenance import Pace, maintaining

LIMITS = Limits(loose=256, packs=2, refs=1, grace=60.0)
PACE = Pace(look=0.01, first=0.1, longest=0.1)


async def main(path: Path) -> None:
    """Serve the repository until killed."""
    async with (
        Store.open(path, create=True) as store,
        serve_store(store, ["tcp://127.0.0.1:0"], maintenance=False) as server,
        maintaining(store, LIMITS, PACE),
    ):
        sys.stdout.write(f"serving on {server.endpoints[0]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
