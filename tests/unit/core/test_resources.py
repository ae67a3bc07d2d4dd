"""What a server asks of its process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
from datakit_core.resources import keep_freed_memory

assert keep_freed_memory()

def message():
    data = bytes(1 << 20)
    return b"header" + data

for _ in range(10):
    message()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    message()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt(3)")
def test_large_messages_use_the_same_memory_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1000  # of 51,200 pages that are written
