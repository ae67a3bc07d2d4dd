"""The tools: how each is told to copy ``in/N`` to ``out/N`` for many N, as cheaply as it can."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

__all__ = ["Directory", "Tool", "installed"]

_VERSIONS = {"doit": "0.37.0", "snakemake": "9.27.1", "dvc": "3.67.1"}


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a tool works.

    Attributes:
        path: A directory of its own, with the files ``in/0``, ``in/1``...
        stages: How many.
        at_once: How many it may run at a time.
    """

    path: Path
    stages: int
    at_once: int

    def write(self, name: str, text: str) -> None:
        """Write a file of the tool."""
        (self.path / name).write_text(text)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is there.

    Attributes:
        name: With what of it that is measured.
        prepare: Writes its files; returns the command that makes everything.
    """

    name: str
    prepare: Callable[[Directory], Sequence[str]]


def installed(cache: Path) -> Iterator[Tool]:
    """The tools that are there or can be installed into ``cache``; says which are not."""
    if make := shutil.which("make"):
        yield Tool("make", partial(_make, make))
    else:
        print("  make is not installed")
    prepares = {"doit": _doit, "snakemake": _snakemake, "dvc": _dvc}
    for name, prepare in prepares.items():
        if (program := _program(cache, name)) is not None:
            yield Tool(name, partial(prepare, program))


def _program(cache: Path, name: str) -> str | None:
    """A tool's program, in an environment of its own; none if it cannot be installed."""
    version = _VERSIONS[name]
    place = cache / f"{name}-{version}"
    program = place / "bin" / name
    if program.exists():
        return str(program)
    python = str(place / "bin" / "python")
    try:
        venv.create(place, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, f"{name}=={version}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(place, ignore_errors=True)
        print(f"  {name} {version} cannot be installed: {error}", file=sys.stderr)
        return None
    return str(program)


def _make(program: str, directory: Directory) -> Sequence[str]:
    outputs = " ".join(f"out/{number}" for number in range(directory.stages))
    directory.write("Makefile", f"all: {outputs}\nout/%: in/%\n\t@mkdir -p out && cp $< $@\n")
    return [program, f"-j{directory.at_once}"]


def _doit(program: str, directory: Directory) -> Sequence[str]:
    """Functions, which it runs in its own process: the cheapest that it has."""
    directory.write(
        "dodo.py",
        f"""
import pathlib

def copy(dependencies, targets):
    pathlib.Path("out").mkdir(exist_ok=True)
    pathlib.Path(targets[0]).write_bytes(pathlib.Path(dependencies[0]).read_bytes())

def task_copy():
    for n in range({directory.stages}):
        yield dict(name=str(n), actions=[copy], file_dep=[f"in/{{n}}"], targets=[f"out/{{n}}"])
""",
    )
    return [program]


def _snakemake(program: str, directory: Directory) -> Sequence[str]:
    directory.write(
        "Snakefile",
        f"""
rule all:
    input: expand("out/{{n}}", n=range({directory.stages}))
rule copy:
    input: "in/{{n}}"
    output: "out/{{n}}"
    shell: "cp {{input}} {{output}}"
""",
    )
    return [program, "--quiet", "all", "--cores", str(directory.at_once)]


def _dvc(program: str, directory: Directory) -> Sequence[str]:
    stages = "".join(
        f"  copy{n}:\n    cmd: mkdir -p out && cp in/{n} out/{n}\n"
        f"    deps: [in/{n}]\n    outs: [out/{n}]\n"
        for n in range(directory.stages)
    )
    directory.write("dvc.yaml", f"stages:\n{stages}")
    subprocess.run(
        [program, "init", "--no-scm", "--quiet"],
        cwd=directory.path,
        check=True,
        capture_output=True,
    )
    return [program, "repro", "--quiet"]
