"""Run the benchmarks: ``python -m bench [NAME ...]``; all of them without a name."""

from __future__ import annotations

import argparse
import importlib
import pkgutil

import bench


def main() -> None:
    """Run the modules of this package that are asked for; each prints its table."""
    known = sorted(
        module.name
        for module in pkgutil.iter_modules(bench.__path__)
        if not module.ispkg and module.name != "__main__"
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*known, []], help="what to measure")
    for name in parser.parse_args().name or known:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n## {name}: {(module.__doc__ or '').splitlines()[0]}\n")
        module.main()


if __name__ == "__main__":
    main()
