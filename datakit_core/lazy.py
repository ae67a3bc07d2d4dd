"""Names of a package that are imported when somebody asks for them.

A package whose ``__init__`` re-exports its whole API makes everybody pay for the heaviest part of
it: who wants the type of a commit's id would load libgit2 and asyncio. PEP 562 lets a module
answer for names that it does not have yet.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

__all__ = ["attributes"]


def attributes(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a package.

    Bind it in the ``else`` of ``if TYPE_CHECKING``, whose body imports the same names: so type
    checkers and import-linter see plain imports, and refuse names that do not exist.
    No lazy name may be that of a module of the package: importing the module would bind it.

    Args:
        package: The ``__name__`` of the package.
        modules: The module of the package that has it, by name.
    """

    def get(name: str) -> object:
        if (module := modules.get(name)) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        value = getattr(importlib.import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)  # asked for once only
        return value

    return get
