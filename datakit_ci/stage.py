"""Stages: what a pipeline's author writes, a command or a function from a tree to a tree.

A :class:`Stage` is made by :func:`shell` or :func:`stage`, and called on a term. It never runs
where the pipeline is evaluated: an executor runs its :class:`~datakit_ci.spec.StageSpec` in a
process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from datakit_ci.canonical import JsonValue, canonical_json, digest
from datakit_ci.conditions import Conditions
from datakit_ci.fingerprint import fingerprint
from datakit_ci.options import (
    CommandConditions,
    Options,
    StageConditions,
    check_conditions,
    check_options,
    check_paths,
    check_variables,
)
from datakit_ci.place import place_of
from datakit_ci.policy import Policy
from datakit_ci.policy_options import check_policy
from datakit_ci.spec import DEFAULT_TIMEOUT, StageKind, StageSpec
from datakit_ci.term import Term, run_stage
from datakit_ci.term import every as clock_term
from datakit_ci.tree import PlainTree, Tree
from datakit_core.errors import ConfigError, DatakitError

__all__ = [
    "PIPELINE_MODULE",
    "Stage",
    "StageFailed",
    "StageKind",
    "StageSpec",
    "StageTransient",
    "StageValue",
    "fingerprint_stages",
    "shell",
    "stage",
]

P = ParamSpec("P")
C = TypeVar("C", Conditions, Policy)

StageValue: TypeAlias = Tree | Mapping[str, bytes | str] | Path
"""What a Python stage may return: a tree, files by path, or a directory with the files."""

PIPELINE_MODULE = "datakit_pipeline_"
"""How the module names of pipelines begin; the rest depends on where the file is."""


class StageFailed(DatakitError):
    """Raised by a Python stage to fail with a message for people, without a traceback.

    It is a result like success: the same stage is not tried again on the same input.
    """


class StageTransient(DatakitError):
    """Raised by a Python stage that has failed for a passing reason, such as a network.

    It is no result; with ``retry=`` the stage is tried again.
    """


class Stage(Generic[P]):
    """A stage of a pipeline; call it on a term with a tree to use it.

    Attributes:
        name: Unique within the project.
        function: What runs, if it is a Python stage.
    """

    def __init__(
        self, make: Callable[[], StageSpec], name: str, function: types.FunctionType | None = None
    ) -> None:
        """Remember how to ``make`` the specification once the pipeline is loaded."""
        self.name = name
        self.function = function
        self._make = make
        if function is not None:
            _of_functions.add(self)
            # For the fingerprints of other stages that call the same function.
            self.__wrapped__ = function
            self.__doc__ = function.__doc__

    def __repr__(self) -> str:
        return f"<Stage {self.name}>"

    @functools.cached_property
    def spec(self) -> StageSpec:
        """The specification, without parameters.

        Raises:
            ConfigError: The function cannot be fingerprinted.
        """
        return self._make()

    def under(
        self,
        *,
        name: str | None = None,
        timeout: float | str | None = None,
        pool: str | None = None,
        **conditions: Unpack[CommandConditions],
    ) -> Stage[P]:
        """The same work under other conditions; what is not given is as before.

        Args:
            name: What it is called, as of one name there is one stage in a project.
            timeout: As :func:`shell` has it, and so has the rest.
            pool: What it takes one unit of while it runs.
            conditions: Secrets, limits and when it runs.

        Raises:
            ConfigError: An option is wrong, or is for commands and this is a function.
        """
        title = self.name if name is None else name
        if self.function is not None:
            _refuse_sandbox(title, conditions)
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        options = check_options(title, None, None, seconds, pool, None)
        checked = check_conditions(title, conditions), check_policy(title, conditions)

        def make() -> StageSpec:
            base = self.spec
            return replace(
                base,
                name=title,
                timeout=base.timeout if timeout is None else options.timeout,
                pool=base.pool if pool is None else options.pool,
                conditions=_changed(base.conditions, checked[0], conditions),
                policy=_changed(base.policy, checked[1], conditions),
            )

        return Stage(make, title, self.function)

    def __call__(self, source: Term[Tree], /, *args: P.args, **kwargs: P.kwargs) -> Term[Tree]:
        """The term of this stage's output for the tree ``source``.

        Args:
            source: The input tree.
            args: As kwargs.
            kwargs: The function's parameters: JSON values, part of the key of the result. For a
                command: environment variables, which become part of the key too.

        Raises:
            ConfigError: ``source`` is no term, or a parameter is missing, unknown or no JSON.
        """
        if not isinstance(source, Term):
            raise ConfigError(
                f"stage {self.name} needs a term such as target.source, not {source!r}"
            )
        spec = self._with_parameters(args, kwargs)
        return run_stage(spec, source, clock_term(spec.policy.every) if spec.policy.every else None)

    def _with_parameters(self, args: Sequence[object], kwargs: Mapping[str, object]) -> StageSpec:
        if self.function is not None:
            return replace(self.spec, parameters=self._bound(self.function, args, kwargs))
        if args:
            raise ConfigError(f"stage {self.name} is a command: give its variables by name")
        if not kwargs:
            return self.spec
        variables = check_variables(self.name, kwargs)
        env = dict(self.spec.env) | variables
        return replace(self.spec, parameters=_canonical(variables), env=tuple(sorted(env.items())))

    def _bound(
        self, function: types.FunctionType, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> str:
        """The parameters as canonical JSON; defaults are the function's own business."""
        signature = inspect.signature(function)
        try:
            bound = signature.bind(None, *args, **kwargs)
        except TypeError as error:
            raise ConfigError(f"stage {self.name}: {error}") from error
        given = dict(bound.arguments)
        given.pop(next(iter(signature.parameters)))
        for name, value in given.items():
            _check_parameter(self.name, name, value)
        return _canonical(given)


def _changed(old: C, new: C, names: Collection[str]) -> C:
    """``old`` with what ``names`` has of it, as in ``new``."""
    own = {each.name for each in fields(old)}.intersection(names)
    return replace(old, **{name: getattr(new, name) for name in own})


_of_functions: Final[weakref.WeakSet[Stage[...]]] = weakref.WeakSet()


def fingerprint_stages() -> None:
    """Fingerprint every Python stage that has been defined, which reads the files of its code.

    An engine does so before it evaluates anything: evaluations must not wait for a disk. Stages of
    the pipeline's file have been by then, but not those of plugins and other modules that it uses.
    A stage that cannot be fingerprinted says so where it is used.
    """
    for each in list(_of_functions):
        with contextlib.suppress(ConfigError):
            each.spec  # noqa: B018 - kept once it is known


def _canonical(parameters: Mapping[str, object]) -> str:
    return canonical_json(cast("JsonValue", parameters)).decode().rstrip("\n")


@overload
def stage(function: Callable[Concatenate[Tree, P], Awaitable[StageValue]], /) -> Stage[P]: ...
@overload
def stage(function: Callable[Concatenate[PlainTree, P], StageValue], /) -> Stage[P]: ...
@overload
def stage(
    *,
    name: str = "",
    inputs: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | str = DEFAULT_TIMEOUT,
    pool: str | None = None,
    version: str | None = None,
    **conditions: Unpack[StageConditions],
) -> _Decorator: ...
def stage(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    inputs: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | str = DEFAULT_TIMEOUT,
    pool: str | None = None,
    version: str | None = None,
    **conditions: Unpack[StageConditions],
) -> Any:
    """Make a stage of a function: ``@stage`` or ``@stage(timeout="5m")``.

    The function is given the input tree (an ``async`` one a :class:`~datakit_ci.tree.Tree`, a
    plain one a :class:`~datakit_ci.tree.PlainTree`), then parameters by name, and returns a tree,
    files by path, or a directory. It must be at the top of a module, since a process of its own
    will import it.

    Args:
        function: The function, when used without parentheses.
        name: The stage's name; empty: the function's.
        inputs: Paths that it sees of its input; none means everything.
        env: Environment variables, besides a small clean set.
        timeout: Seconds, or text such as ``90s``, ``5m``, ``1h``.
        pool: What it takes one unit of while it runs; none means ``cpu``.
        version: What stands for the code in the key of results, instead of a fingerprint.
        conditions: Secrets, limits and more: see :class:`~datakit_ci.options.StageConditions`.

    Raises:
        ConfigError: An option or the function's signature is wrong.
    """

    def decorate(decorated: object) -> Stage[Any]:
        if not isinstance(decorated, types.FunctionType):
            raise ConfigError(f"@stage needs a function, not {decorated!r}")
        title = name or decorated.__name__
        options = check_options(title, inputs, env, timeout, pool, version)
        _check_signature(title, decorated)
        _refuse_sandbox(title, conditions)
        checked = (check_conditions(title, conditions), check_policy(title, conditions))
        return Stage(lambda: _python_spec(title, decorated, options, *checked), title, decorated)

    return decorate if function is None else decorate(function)


class _Decorator(Protocol):
    """What ``@stage(...)`` is to a type checker."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Tree, P], Awaitable[StageValue]], /
    ) -> Stage[P]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[PlainTree, P], StageValue], /
    ) -> Stage[P]: ...


def shell(
    name: str,
    command: str,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] = (),
    reports: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float | str = DEFAULT_TIMEOUT,
    pool: str | None = None,
    version: str | None = None,
    **conditions: Unpack[CommandConditions],
) -> Stage[...]:
    """Make a stage of a shell command, run in a checkout of its input.

    Args:
        name: Unique within the project: letters, digits, dots, dashes, underscores and slashes.
        command: For ``sh -c``. It fails by a non-zero exit status.
        inputs: Paths that the checkout holds; none means everything. A change elsewhere does not
            run the stage again.
        outputs: Paths that it must leave behind: its output tree. Without any, the output is the
            empty tree.
        reports: Paths of JUnit files, kept also when it fails.
        env: Environment variables, besides a small clean set.
        timeout: Seconds, or text such as ``90s``, ``5m``, ``1h``.
        pool: What it takes one unit of while it runs; none means ``cpu``.
        version: Change it to run the stage again although nothing else has changed.
        conditions: Secrets, a sandbox, limits and more: see
            :class:`~datakit_ci.options.CommandConditions`.

    Raises:
        ConfigError: Something of this is wrong; the message names it.
    """
    options = check_options(name, inputs, env, timeout, pool, version)
    if not isinstance(command, str) or not command.strip():
        raise ConfigError(f"stage {name}: the command is empty")
    made = check_paths(name, "outputs", outputs)
    kept = check_paths(name, "reports", reports)
    code = {
        "command": command,
        "env": dict(options.env),
        "inputs": options.inputs,
        "outputs": made,
        "reports": kept,
        "version": version,
    }
    spec = StageSpec(
        name=name,
        kind=StageKind.SHELL,
        command=command,
        fingerprint=digest(cast("JsonValue", code)),
        inputs=options.inputs,
        outputs=made,
        reports=kept,
        env=options.env,
        timeout=options.timeout,
        pool=options.pool,
        conditions=check_conditions(name, conditions),
        policy=check_policy(name, conditions),
    )
    return Stage(lambda: spec, name)


def _refuse_sandbox(name: str, conditions: Mapping[str, object]) -> None:
    """A function's process reads the database itself, so it cannot be cut off from it."""
    if {"sandbox", "network"}.intersection(conditions):
        raise ConfigError(
            f"stage {name}: a function cannot be sandboxed, since its process reads the database; "
            "make what must be cut off a command: shell(..., sandbox=True)"
        )


def _python_spec(
    name: str,
    function: types.FunctionType,
    options: Options,
    conditions: Conditions,
    policy: Policy,
) -> StageSpec:
    code = {
        "code": fingerprint(function) if options.version is None else None,
        "env": dict(options.env),
        "inputs": options.inputs,
        "version": options.version,
    }
    is_pipeline = function.__module__.startswith(PIPELINE_MODULE)
    return StageSpec(
        name=name,
        kind=StageKind.PYTHON,
        command=function.__qualname__,
        module="" if is_pipeline else function.__module__,
        fingerprint=digest(cast("JsonValue", code)),
        inputs=options.inputs,
        env=options.env,
        timeout=options.timeout,
        pool=options.pool,
        conditions=conditions,
        policy=policy,
    )


def _check_signature(name: str, function: types.FunctionType) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"stage {name}: it must return, not yield", place_of(function))
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise ConfigError(
            f"stage {name}: its first parameter is the input tree", place_of(function)
        )
    for parameter in parameters[1:]:
        if parameter.kind not in _BY_NAME:
            raise ConfigError(
                f"stage {name}: parameter {parameter} cannot be given by name", place_of(function)
            )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _check_parameter(stage_name: str, name: str, value: object) -> None:
    """Only what comes back unchanged from JSON can be a parameter: a tuple would not."""
    match value:
        case None | bool() | int() | str():
            return
        case float() if value - value == 0:
            return
        case list():
            for item in value:
                _check_parameter(stage_name, name, item)
        case dict() if all(isinstance(key, str) for key in value):
            for item in value.values():
                _check_parameter(stage_name, name, item)
        case _:
            raise ConfigError(
                f"stage {stage_name}: parameter {name} cannot be part of a key: {value!r}; "
                "use numbers, texts, lists and dictionaries with text keys"
            )
