"""A build's process that runs one command after the other, until it would not be safe any more.

Most of what a build's process costs is the kernel's: a fork copies every page that is touched
afterwards, and gives them back at the end. A command is a process of its own below this one, which
runs no user's code itself; so when all that a command has left is gone, the next may have this one.

What is asked for comes over a socket: a byte with the three pipes of a build, of which the first
brings its instruction, as in :mod:`datakit_ci.executors.child`. Standard output says how it goes,
and standard input is the life line; what is on standard error is about ourselves.
"""

from __future__ import annotations

import os
import resource
import socket

from datakit_ci.executors.child import (
    STOPPED,
    Build,
    give_up,
    read_line,
    take_pipes,
    write_all,
)
from datakit_ci.executors.limits import LimitWatch, apply_limits
from datakit_ci.executors.protocol import Ending, Instruction, Verdict
from datakit_ci.executors.supervision import Stopped, Supervision, wait_for_all

__all__ = ["BEGUN", "DONE", "MOST", "main"]

BEGUN, DONE = b"+", b"."
"""What we say: the pipes are here; nothing of that build is left, and another one may come."""

MOST = 100
"""Builds after which this process has earned its fork, and what it may have collected goes."""

_STOUT = 96 << 10
"""Kibibytes of memory, of which a build's limit would count ours: then we make way for another."""


def main(control: socket.socket) -> int:
    """Run the commands that come; the exit status is of no interest to the engine."""
    life_line, news = take_pipes()
    own = os.dup(2)
    supervision, limits = Supervision(grace=0.0), LimitWatch()
    try:
        supervision.begin(life_line)
        apply_limits()
        for _ in range(MOST):
            if not _run_next(control, news, supervision, limits):
                return 0
            _show_on(own)
            os.write(news, DONE)
    except Stopped:
        wait_for_all()
        return STOPPED
    return 0


def _run_next(
    control: socket.socket, news: int, supervision: Supervision, limits: LimitWatch
) -> bool:
    """Run the next command; whether there may be another one after it."""
    message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
    if not message:
        return False
    os.write(news, BEGUN)
    given, report, log = descriptors
    _show_on(log)
    os.close(log)
    instruction = Instruction.decode(read_line(given))
    os.close(given)
    supervision.grace = instruction.grace
    limits.begin(instruction.spec.conditions, lambda problem: give_up(report, problem))
    ending = Build(instruction, supervision).run()
    limits.end()
    write_all(report, ending.encode())
    os.close(report)
    return _is_clean(instruction, ending)


def _show_on(descriptor: int) -> None:
    """Let what is printed go there."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _is_clean(instruction: Instruction, ending: Ending) -> bool:
    """Whether nothing of a build can be met by the next one: no secret in memory, no surprise."""
    conditions = instruction.spec.conditions
    as_expected = ending.verdict in (Verdict.PASSED, Verdict.FAILED)
    is_slim = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _STOUT
    return as_expected and is_slim and not conditions.untrusted and not conditions.secrets
