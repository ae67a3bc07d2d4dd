"""Fingerprints: a digest of the code of a Python stage, which changes when its meaning may.

It covers the function's syntax tree, without docstrings, comments and positions; the functions,
classes and constants of the pipeline and of modules beside it that the function can reach; the
versions of the distributions whose names it uses; and the version of Python. What cannot be
covered is refused rather than overlooked: a stale result is worse than one line more to write.

It follows names as they are written. What is found by other ways (``getattr`` with a computed
name, ``globals()``, files beside the pipeline) is out of its sight; such a stage gives
``version=`` and changes it by hand.
"""

from __future__ import annotations

import ast
import dis
import enum
import functools
import hashlib
import importlib
import importlib.util
import linecache
import logging
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from uuid import UUID

from datakit_ci.canonical import JsonValue, digest
from datakit_ci.place import place_of
from datakit_core import __version__
from datakit_core.errors import ConfigError

__all__ = ["fingerprint", "installed", "prepare"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice)
_PRINTED = (date, time, timedelta, timezone, Decimal, Fraction, PurePath, UUID, types.GenericAlias)
_TYPING = (typing.TypeVar, typing.ParamSpec, typing.NewType, types.UnionType)
_OURS = {"datakit_ci", "datakit_core"}
_PLACES = {"__file__", "__name__"}
"""What a module knows of where it lies, which says nothing of what it does: on a worker the same
pipeline lies elsewhere, and its own module is named by its path."""


def fingerprint(function: types.FunctionType) -> str:
    """Digest ``function`` and what it can reach: 64 hex digits.

    Call it once the function's module has been imported to its end: it follows names to what they
    mean then.

    Raises:
        ConfigError: Something it uses cannot be digested; says what, and to give ``version=``.
    """
    walk = _Walk(place_of(function), function.__module__)
    walk.function(function, root=True)
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return digest(
        {
            "python": python,
            "code": walk.code,
            "constants": walk.constants,
            "distributions": walk.distributions,
        }
    )


@functools.cache
def installed() -> str:
    """Digest which distributions are installed, in which versions; slow the first time."""
    from importlib.metadata import distributions  # slow to import

    return digest(sorted([each.name or "", each.version] for each in distributions()))


def prepare() -> None:
    """Find out which distributions are installed, which takes a while, before it is needed."""
    _distributions()


class _Walk:
    """Follows names from one function; each thing is visited once."""

    def __init__(self, where: str, home: str) -> None:
        self.code: dict[str, JsonValue] = {}
        self.constants: dict[str, JsonValue] = {}
        self.distributions: dict[str, JsonValue] = {}
        self._where = where
        self._home = home

    def function(self, function: types.FunctionType, *, root: bool = False) -> None:
        """Cover a function, its defaults, and the names it looks up."""
        name = self._name(function)
        if name in self.code:
            return
        if "<" in function.__qualname__:
            raise self._refuse(f"{function.__qualname__} is not defined at the top of a module")
        definition = _definition(function)
        if definition is None:
            raise self._refuse(f"the source of {function.__qualname__} cannot be found")
        if root and isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
            # @stage(timeout=...) says how to run it, not what it makes.
            definition.decorator_list = []
        self.code[name] = _normalised(definition)
        self._value(f"{name} defaults", (function.__defaults__, function.__kwdefaults__))
        self._follow(_global_names(function.__code__), function.__globals__, name)
        self._imports(definition, function.__globals__)

    def _class(self, cls: type) -> None:
        name = self._name(cls)
        if name in self.code:
            return
        definition = _find(_module_tree(cls.__module__), cls.__qualname__, line=None)
        if definition is None:
            raise self._refuse(f"the source of class {cls.__qualname__} cannot be found")
        self.code[name] = _normalised(definition)
        for base in cls.__mro__[1:]:
            self.value(f"{name} base {base.__qualname__}", base)
        namespace = vars(sys.modules[cls.__module__])
        names = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
        self._follow(names - {cls.__name__}, namespace, name)
        self._imports(definition, namespace)

    def _module(self, module: types.ModuleType) -> None:
        """Cover a module of the pipeline's own: all of it, since any attribute may be used."""
        name = module.__name__
        if not self._is_own(name) or name in self.code:
            return
        tree = _module_tree(name)
        if tree is None:
            raise self._refuse(f"the source of module {name} cannot be found")
        self.code[name] = _normalised(tree)
        self._imports(tree, vars(module))

    def _imports(self, tree: ast.AST, namespace: Mapping[str, object]) -> None:
        """Cover what import statements inside ``tree`` bring in."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._imported(alias.name)
            elif isinstance(node, ast.ImportFrom):
                package = str(namespace.get("__package__") or "")
                relative = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(relative, package) if node.level else relative
                self._imported(base)
                for alias in node.names:
                    if f"{base}.{alias.name}" in sys.modules:
                        self._imported(f"{base}.{alias.name}")

    def _imported(self, name: str) -> None:
        if self._is_own(name):
            self._module(importlib.import_module(name))

    def _follow(self, names: set[str], namespace: Mapping[str, object], user: str) -> None:
        for name in sorted(names & namespace.keys()):
            if name in _PLACES:
                self.constants[f"{user} > {name}"] = ["place"]
            else:
                self.value(f"{user} > {name}", namespace[name])

    def value(self, name: str, value: object) -> None:
        """Cover what a global name means: which thing it is, and if it is ours, its code."""
        match value:
            case types.ModuleType():
                self.constants[name] = ["module", value.__name__]
                self._module(value)
            case types.FunctionType():
                self.constants[name] = ["function", self._name(value)]
                if self._is_own(value.__module__):
                    self.function(value)
            case type():
                self.constants[name] = ["class", self._name(value)]
                if self._is_own(value.__module__):
                    self._class(value)
            case types.BuiltinFunctionType(__self__=None | types.ModuleType()):
                module = value.__module__ or "builtins"
                self.constants[name] = ["function", f"{module}:{value.__qualname__}"]
                self._is_own(module)
            case object(__wrapped__=types.FunctionType() as wrapped):
                self.value(name, wrapped)
            case _:
                self._value(name, value)

    def _value(self, name: str, value: object) -> None:
        self.constants[name] = self._constant(name, value)

    def _constant(self, name: str, value: object) -> JsonValue:
        """A constant as JSON that tells it from every other constant."""
        match value:
            case str() | PurePath() if (below := self._below(value)) is not None:
                return ["place", type(value).__qualname__, below]
            case enum.Enum():
                self.value(name, type(value))
                return ["enum", type(value).__qualname__, value.name]
            case _ if isinstance(value, (*_PLAIN, *_PRINTED, *_TYPING)) or _is_typing(value):
                return [type(value).__qualname__, repr(value)]
            case re.Pattern():
                return ["pattern", repr(value.pattern), value.flags]
            case logging.Logger():
                return ["logger"]
            case tuple() | list():
                return [type(value).__qualname__, [self._constant(name, item) for item in value]]
            case set() | frozenset():
                items = [self._constant(name, item) for item in value]
                return [type(value).__qualname__, sorted(items, key=repr)]
            case dict() | types.MappingProxyType():
                return ["dict", [self._constant(name, item) for item in value.items()]]
            case functools.partial():
                self.value(f"{name} function", value.func)
                return ["partial", self._constant(name, (value.args, value.keywords))]
            case _ if is_dataclass(value) and not isinstance(value, type):
                self.value(f"{name} class", type(value))
                held = {field.name: getattr(value, field.name) for field in fields(value)}
                return ["dataclass", type(value).__qualname__, self._constant(name, held)]
            case types.FunctionType() | types.BuiltinFunctionType() | type() | types.ModuleType():
                self.value(f"{name} {value.__name__}", value)
                return ["code", value.__name__]
            case _:
                shown = name.rpartition(" > ")[2]
                raise self._refuse(f"it uses {shown}, a {type(value).__qualname__}")

    def _below(self, value: str | PurePath) -> str | None:
        """The path below the pipeline's directory, of one that was made from ``__file__``.

        One that is written out in the pipeline is the same wherever that lies.
        """
        folder = os.path.dirname(getattr(sys.modules.get(self._home), "__file__", None) or "")  # noqa: PTH120
        text = str(value)
        if len(folder) < 2 or not f"{text}/".startswith(f"{folder}/"):
            return None
        tree = _module_tree(self._home)
        nodes = () if tree is None else ast.walk(tree)
        is_written = any(isinstance(node, ast.Constant) and node.value == text for node in nodes)
        return None if is_written else text.removeprefix(folder)

    def _is_own(self, module: str) -> bool:
        """Whether to look into ``module``; if it belongs to a distribution, its version counts."""
        top = module.partition(".")[0]
        if module == self._home:
            return True
        if top in sys.stdlib_module_names or top in sys.builtin_module_names:
            return False
        if top in _OURS:
            self.distributions["datakit"] = __version__
            return False
        owners = _owners(top)
        self.distributions |= owners
        return not owners

    def _name(self, thing: types.FunctionType | type) -> str:
        """The pipeline's own module is nameless: its name depends on where the file is."""
        module = "" if thing.__module__ == self._home else thing.__module__
        return f"{module}:{thing.__qualname__}"

    def _refuse(self, what: str) -> ConfigError:
        return ConfigError(
            f"the code of this stage has no fingerprint: {what}; "
            "make it a constant or a function at the top of a module, or give version=",
            self._where,
        )


def _is_typing(value: object) -> bool:
    """Aliases such as ``Callable[[int], str]`` have no public class."""
    return type(value).__module__ == "typing"


@functools.cache
def _owners(module: str) -> Mapping[str, str]:
    """The distributions that a top-level module belongs to, with their versions."""
    from importlib.metadata import version  # slow to import

    return {owner: version(owner) for owner in _distributions().get(module, [])}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


def _module_tree(name: str) -> ast.Module | None:
    """The syntax tree of a module, from the very source that was imported where it is kept."""
    module = sys.modules.get(name)
    get_source = getattr(getattr(module, "__loader__", None), "get_source", None)
    source = get_source(name) if get_source is not None else None
    if source is None:
        source = "".join(linecache.getlines(getattr(module, "__file__", None) or "")) or None
    return None if source is None else ast.parse(source)  # that of a package may be empty


def _definition(function: types.FunctionType) -> ast.AST | None:
    """The definition of ``function``, unless it was made of other text than its module's."""
    if function.__code__.co_filename != getattr(
        sys.modules.get(function.__module__), "__file__", ""
    ):
        return None
    tree = _module_tree(function.__module__)
    return _find(tree, function.__qualname__, line=function.__code__.co_firstlineno)


def _find(tree: ast.AST | None, qualname: str, *, line: int | None) -> ast.AST | None:
    """The definition called ``qualname``, or the one of that name on ``line`` if there are two."""
    scopes: list[ast.AST] = [tree] if tree is not None else []
    found: list[_Definition] = []
    for part in qualname.split("."):
        found = [each for scope in scopes for each in _definitions(scope) if each.name == part]
        scopes = list(found)
    exact = [each for each in found if _first_line(each) == line]
    return next(reversed(exact or found), None)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(scope: ast.AST) -> Iterator[_Definition]:
    """Definitions in ``scope``, also below ``if`` and ``try``, but not inside each other."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, _Definition):
            yield node
        elif isinstance(node, ast.stmt | ast.ExceptHandler):
            yield from _definitions(node)


def _first_line(node: ast.AST) -> int | None:
    """A function's first line is that of its first decorator, as in its code object."""
    decorators = getattr(node, "decorator_list", [])
    return getattr(decorators[0] if decorators else node, "lineno", None)


def _normalised(tree: ast.AST) -> str:
    """Digest a syntax tree without docstrings and positions."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | _Definition)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode(errors="surrogatepass")).hexdigest()


def _global_names(code: types.CodeType) -> set[str]:
    """The global names that ``code``, or a function inside it, looks up."""
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
