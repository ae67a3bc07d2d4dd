"""Vetting: a stage that a pipeline's process has written down, by the rules for authors.

Whoever wrote the pipeline may have written what its process says, so nothing of it is believed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

from datakit_ci.conditions import Conditions, Sandbox
from datakit_ci.options import check_conditions, check_options, check_paths
from datakit_ci.policy import Policy
from datakit_ci.policy_options import check_policy
from datakit_ci.spec import StageKind, StageSpec
from datakit_core.errors import ConfigError

__all__ = ["vetted"]

_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")


def vetted(spec: StageSpec, origin: str) -> StageSpec:
    """``spec`` as ``shell`` or ``@stage`` would have made it, and of the pipeline ``origin``.

    Raises:
        ConfigError: Nobody could have made it.
    """
    is_command = spec.kind is StageKind.SHELL
    if spec.kind is StageKind.PIPELINE or spec.image or spec.tools:
        raise _nonsense(f"stage {spec.name} is of a kind that nobody can write")
    if not _FINGERPRINT.match(spec.fingerprint) or not spec.command.strip():
        raise _nonsense(f"stage {spec.name} has no fingerprint, or no command")
    if not isinstance(spec.arguments, dict):
        raise _nonsense(f"the parameters of stage {spec.name} are no object")
    options = check_options(
        spec.name, spec.inputs, dict(spec.env), spec.timeout, spec.pool, version=None
    )
    return replace(
        spec,
        inputs=options.inputs,
        env=options.env,
        timeout=options.timeout,
        outputs=check_paths(spec.name, "outputs", spec.outputs),
        reports=check_paths(spec.name, "reports", spec.reports),
        conditions=_checked_conditions(spec.name, spec.conditions),
        policy=_checked_policy(spec.name, spec.policy),
        origin="" if is_command else origin,
    )


def _checked_conditions(name: str, given: Conditions) -> Conditions:
    sandbox = {Sandbox.NO: False, Sandbox.YES: True}.get(given.sandbox, "auto")
    return check_conditions(
        name,
        {
            "secrets": dict(given.secrets),
            "sandbox": cast("bool", sandbox),
            "network": given.network,
            "processes": given.processes,
            "locks": given.locks,
            "priority": given.priority,
            "facts": given.facts,
            "log_limit": given.log_limit,
            "output_limit": given.output_limit,
            **({"memory": given.memory} if given.memory else {}),
        },
    )


def _checked_policy(name: str, given: Policy) -> Policy:
    return check_policy(
        name,
        {
            "latched": given.latched,
            "auto_cancel": given.auto_cancel,
            "retry": given.retry,
            "transient": given.transient,
            "level": given.level,
            **({"every": given.every} if given.every else {}),
            **({"valid_for": given.valid_for} if given.valid_for else {}),
        },
    )


def _nonsense(what: str) -> ConfigError:
    return ConfigError(f"the pipeline's process wrote what is no graph: {what}")
