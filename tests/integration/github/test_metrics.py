"""What the bridge counts, and that the page about metrics says so."""

from __future__ import annotations

import re
from pathlib import Path

from datakit_ci.bridges.github.metrics import Meter
from datakit_core.metrics.families import registry_of

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_every_metric_is_documented_and_nothing_else() -> None:
    meter = Meter()
    meter.answered("GET", 200, {"x-ratelimit-remaining": "4000"})
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in registry_of(meter).collect()
        if family.name.startswith("datakit_")
    }
    rows = re.findall(r"^\| `(datakit_github_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(rows) == served


def test_what_happens_is_counted() -> None:
    meter = Meter()
    meter.answered("GET", 304, {"x-ratelimit-remaining": "4000", "x-ratelimit-resource": "core"})
    meter.waited(2.5)
    meter.pushed("SetStatus", "done")
    value = registry_of(meter).get_sample_value
    assert value("datakit_github_requests_total", {"method": "GET", "status": "304"}) == 1
    assert value("datakit_github_rate_limit_remaining", {"resource": "core"}) == 4000
    assert value("datakit_github_waited_seconds_total") == 2.5
    assert value("datakit_github_pushes_total", {"kind": "SetStatus", "result": "done"}) == 1
