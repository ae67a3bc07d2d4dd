"""Combining results: the operations that need nothing but the results of their inputs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from datakit_ci.operation import All, Catch, Gate, Operation, State, Wait, WithoutLogs
from datakit_ci.result import Failed, Ok, Pending, Result, worst
from datakit_ci.state import Status

__all__ = ["apply", "combine"]

T = TypeVar("T")
U = TypeVar("U")


def combine(operation: Operation, inputs: Sequence[Result[object]]) -> Result[object]:
    """The result of ``operation`` for its inputs' results."""
    match operation:
        case State():
            return Ok(inputs[0])
        case Catch():
            return inputs[0] if isinstance(inputs[0], Pending) else Ok(inputs[0])
        case WithoutLogs():
            return inputs[0]
        case Gate():
            return worst(inputs) or inputs[0]
        case All():
            return worst(inputs) or Ok(tuple(each.value for each in inputs if isinstance(each, Ok)))
        case Wait():
            return _wait(operation, inputs)
        case _:
            raise AssertionError(f"{operation!r} needs more than its inputs")


def _wait(operation: Wait, inputs: Sequence[Result[object]]) -> Result[None]:
    """One reason for all inputs: which failed, or else which are not ready."""
    match worst(inputs):
        case Failed() as failed:
            reason = operation.on_failure or _listed(operation, inputs, Failed, "failed")
            return Failed(reason or failed.reason, failed.node, failed.kind, failed.blocked)
        case Pending() as pending:
            reason = operation.while_pending or _listed(operation, inputs, Pending, "pending")
            said = bool(operation.while_pending) or (pending.said and not reason)
            return Pending(reason or pending.reason, pending.node, pending.running, said)
        case None:
            return Ok(None)


def _listed(
    operation: Wait, inputs: Sequence[Result[object]], kind: type[object], verb: str
) -> str:
    """``lint, unit failed``; empty when the inputs have no names."""
    names = [
        name
        for name, result in zip(operation.names, inputs, strict=True)
        if isinstance(result, kind) and name
    ]
    return f"{', '.join(names)} {verb}" if names else ""


def apply(function: Callable[[T], U], given: Result[T], node: str) -> Result[U]:
    """``function`` of the value, if there is one; an exception is an error of ``node``."""
    if not isinstance(given, Ok):
        return given
    try:
        return Ok(function(given.value))
    except Exception as error:  # noqa: BLE001  # a pipeline's function: its error is a result
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        return Failed(text, node, Status.ERROR)
