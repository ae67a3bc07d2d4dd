"""A program that uses a database: it commits a file, reads it back, and watches the branch.

Start a server, then run it, as often as you like::

    datakit serve --git /tmp/example.git --listen-9p tcp://127.0.0.1:5640
    python -m examples.client tcp://127.0.0.1:5640

``open_local(path)`` instead of ``connect(address)`` works on a repository without a server; the
rest stays as it is.
"""

from __future__ import annotations

import asyncio
import sys

from datakit_core.client import Database, connect
from datakit_core.errors import MergeConflict


async def count_up(database: Database) -> None:
    """Commit a number that is one higher than the last one, even if others do so meanwhile."""
    while True:
        async with database.transaction("counter") as transaction:
            exists = await transaction.entry("runs/count") is not None
            count = int(await transaction.read("runs/count")) if exists else 0
            await transaction.write("runs/count", b"%d\n" % (count + 1))
            try:
                await transaction.commit(f"Count to {count + 1}")
            except MergeConflict:
                continue  # somebody else was faster: begin again with the new head
            return


async def show(database: Database) -> None:
    """Read the branch back: its tree, a file, its history."""
    head = await database.head("counter")
    assert head is not None, "count_up has made it"
    commit = await database.commit(head)
    for name, entry in (await database.tree(commit.tree)).items():
        print("tree", entry, name)
    print("count", (await database.read(commit.tree, "runs/count")).decode().strip())
    async for past in database.history(head):
        print("commit", past.id, past.message)


async def main(address: str) -> None:
    """Count, show, and wait for one more change."""
    async with connect(address) as database, asyncio.TaskGroup() as tasks:
        await count_up(database)
        await show(database)
        seen = 0
        async for head in database.watch_head("counter"):
            print("head", head, flush=True)
            seen += 1
            if seen == 2:
                return
            tasks.create_task(count_up(database))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5640"))
