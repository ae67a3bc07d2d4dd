"""Limits of builds: memory, processes, output; and secrets that must not be stored."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci.conditions import Conditions
from datakit_ci.executors.base import LostBuild
from datakit_ci.redaction import Redaction
from tests.support.bench import PlacedBench, bench_at, command
from tests.support.places import BOTH, Place

pytestmark = BOTH

PIPELINE = """
from datakit_ci import Config, stage

@stage
def greedy(source):
    kept = bytearray(300_000_000)
    kept[::4096] = b"x" * len(kept[::4096])
    while True:
        pass

@stage(secrets=["TOKEN"])
def leaky(source):
    import os
    return {"a/b": os.environ["TOKEN"]}

config = Config(projects=[])
"""

TOKEN = b"t0ken/of+some-length"
REDACTION = Redaction({"TOKEN": TOKEN})
SECRETS = {"TOKEN": TOKEN.decode()}


@pytest.fixture
def bench(place: Place, tmp_path: Path) -> PlacedBench:
    return bench_at(place, tmp_path, PIPELINE)


async def test_processes_that_use_too_much_memory_together_are_ended(bench: PlacedBench) -> None:
    eater = "python3 -c 'x = b\"y\" * 80_000_000; import time; time.sleep(1000)'"
    spec = command(f"{eater} & {eater} & {eater} & wait")
    spec = replace(spec, conditions=Conditions(memory=200_000_000))
    with pytest.raises(LostBuild, match="used more than the 200000000 bytes of memory"):
        await bench.run(spec)
    assert bench.leftovers == []


async def test_a_function_that_uses_too_much_memory_is_ended(bench: PlacedBench) -> None:
    spec = replace(bench.function("greedy"), conditions=Conditions(memory=200_000_000))
    with pytest.raises(LostBuild, match="used more than the 200000000 bytes of memory"):
        await bench.run(spec)


async def test_a_build_that_forks_without_end_is_ended(bench: PlacedBench) -> None:
    text = "spread() { sleep 1000 & spread; }; i=0; while :; do sleep 1000 & done"
    spec = replace(command(text), conditions=Conditions(processes=50))
    with pytest.raises(LostBuild, match="more than the 50 processes"):
        await bench.run(spec)
    assert bench.leftovers == []


async def test_outputs_that_are_too_large_are_a_failure(bench: PlacedBench) -> None:
    spec = command("head -c 3000 /dev/zero > out", outputs=("out",))
    spec = replace(spec, conditions=Conditions(output_limit=2999))
    failure = (await bench.run(spec)).failure
    assert failure == "its outputs and reports have more than the 2999 bytes that it may make"
    spec = replace(spec, conditions=Conditions(output_limit=3000))
    assert (await bench.run(spec)).failure is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('mkdir -p out/d; echo "a $TOKEN b" > out/d/file', "d/file"),
        ('mkdir out; printf %s "x$TOKEN" | base64 > out/file', "file"),
        ('mkdir out; ln -s "$TOKEN" out/link', "link"),
        ('mkdir out; : > "out/$(printf %s "$TOKEN" | base64)"', base64.b64encode(TOKEN).decode()),
        ('mkdir out; (head -c 1048570 /dev/zero; printf %s "$TOKEN") > out/large', "large"),
    ],
)
async def test_a_secret_in_an_output_fails_the_build(
    bench: PlacedBench, text: str, where: str
) -> None:
    spec = command(text, outputs=("out",))
    outcome = await bench.run(spec, secrets=SECRETS, redaction=REDACTION)
    assert outcome.failure == f"the secret TOKEN is in out/{where}; nothing of it was stored"
    assert await bench.files(outcome.output) == {}


async def test_a_secret_in_a_report_fails_the_build_and_drops_the_report(
    bench: PlacedBench,
) -> None:
    spec = command('echo "$TOKEN" > report.xml; exit 1', reports=("report.xml",))
    outcome = await bench.run(spec, secrets=SECRETS, redaction=REDACTION)
    assert outcome.failure == "the secret TOKEN is in report.xml; nothing of it was stored"
    assert outcome.reports is None


async def test_a_secret_that_a_function_returns_fails_it(bench: PlacedBench) -> None:
    outcome = await bench.run(bench.function("leaky"), secrets=SECRETS, redaction=REDACTION)
    assert outcome.failure == "the secret TOKEN is in a/b; nothing of it was stored"


async def test_what_is_compressed_cannot_be_looked_into(bench: PlacedBench) -> None:
    """Said in the documents; if it ever fails, they can promise more."""
    spec = command('printf %s "$TOKEN" | gzip -c > out', outputs=("out",))
    outcome = await bench.run(spec, secrets=SECRETS, redaction=REDACTION)
    assert gzip.decompress((await bench.files(outcome.output))["out"]) == TOKEN


async def test_facts_are_told_in_variables(bench: PlacedBench) -> None:
    told = (("commit", "c" * 40), ("target", "heads/main"))
    spec = replace(
        command("echo $DATAKIT_TARGET $DATAKIT_COMMIT"),
        conditions=Conditions(facts=("commit", "target"), told=told),
    )
    await bench.run(spec)
    assert bench.text.splitlines()[1] == f"heads/main {'c' * 40}"
