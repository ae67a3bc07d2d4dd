"""Where a worker can be reached: by the scheduler and other workers, and by nobody else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil

from tests.support.farm import running_farm


def test_a_worker_listens_at_the_address_from_which_it_reaches_the_scheduler_and_at_no_other() -> (
    None
):
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as name,  # short, for its socket
        running_farm(Path(name), {"one": "cpu=1"}) as farm,
    ):
        worker = farm.workers["one"]
        port = worker.until(r"worker one at tcp://127\.0\.0\.1:(\d+)")
        sockets = psutil.Process(worker.process.pid).net_connections("inet")
        listening = [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", int(port))]
