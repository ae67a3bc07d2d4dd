"""Fingerprints: what changes them, what does not, and what has none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

from datakit_ci.fingerprint import fingerprint
from datakit_ci.pipeline import import_pipeline
from datakit_core.errors import ConfigError

BASE = '''
import json
LIMIT = 3

def helper(value):
    """Help."""
    return value + LIMIT

def run(tree, depth=1):
    """Run."""
    return json.dumps(helper(depth))
'''


class Files:
    """A directory of pipelines, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def digest(self, text: str, name: str = "run") -> str:
        file = self.path / "pipeline.py"
        file.write_text(text)
        function = getattr(import_pipeline(file), name)
        assert isinstance(function, FunctionType)
        return fingerprint(function)

    def refused(self, text: str) -> str:
        with pytest.raises(ConfigError, match="has no fingerprint") as caught:
            self.digest(text)
        assert caught.value.where.startswith((f"{self.path}/pipeline.py:", "<string>:"))
        assert "give version=" in str(caught.value)
        return str(caught.value)

    def beside(self, name: str, text: str) -> None:
        (self.path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    before = set(sys.modules)
    yield Files(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Run."""', '"""Run, but better."""'),
        ("    return value", "    # a comment\n\n    return value"),
        ("def helper", "OTHER = 4\n\ndef unused(): ...\n\ndef helper"),
        ("value + LIMIT", "(value   +   LIMIT)"),
        ("import json", "import json\nimport os"),
        ("def run", "def decorator(f):\n    return f\n\n@decorator\ndef run"),
    ],
)
def test_what_means_the_same_has_the_same_fingerprint(files: Files, old: str, new: str) -> None:
    assert files.digest(BASE.replace(old, new)) == files.digest(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(depth)", "helper(depth + 1)"),
        ("value + LIMIT", "value - LIMIT"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("depth=1", "depth=2"),
        ("depth=1", "depth=LIMIT"),
        ("import json", "import pickle as json"),
        ("    return json", "    import pytest\n    return json"),
    ],
)
def test_what_may_mean_something_else_has_another(files: Files, old: str, new: str) -> None:
    assert old in BASE
    assert files.digest(BASE.replace(old, new)) != files.digest(BASE)


def test_it_does_not_depend_on_where_the_file_is(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path / "elsewhere")
    other.path.mkdir()
    assert other.digest(BASE) == files.digest(BASE)


def test_functions_that_call_each_other_end(files: Files) -> None:
    text = "def run(t):\n    return odd(t)\ndef odd(t):\n    return run(t)\n"
    assert files.digest(text) != files.digest(
        text.replace("odd(t):\n    return", "odd(t):\n    yield")
    )


def test_inner_functions_and_comprehensions_are_followed(files: Files) -> None:
    text = "N = 1\ndef run(t):\n    def inner():\n        return [N for _ in t]\n    return inner\n"
    assert files.digest(text) != files.digest(text.replace("N = 1", "N = 2"))


def test_classes_are_followed_with_their_bases_and_methods(files: Files) -> None:
    text = (
        "N = 1\n"
        "class Base:\n    def base(self):\n        return 1\n"
        "class Thing(Base):\n    size = N\n    def method(self):\n        return self.base() + N\n"
        "def run(t):\n    return Thing().method()\n"
    )
    digests = {
        files.digest(text),
        files.digest(text.replace("N = 1", "N = 2")),
        files.digest(text.replace("return 1", "return 2")),
        files.digest(text.replace("self.base() + N", "self.base() - N")),
    }
    assert len(digests) == 4


def test_stages_that_a_stage_calls_are_followed(files: Files) -> None:
    text = (
        "from datakit_ci import stage\n"
        "@stage(timeout='1m')\n"
        "async def first(tree):\n    return {'a': '1'}\n"
        "async def run(tree):\n    return await first.function(tree)\n"
    )
    assert files.digest(text) != files.digest(text.replace("'1'", "'2'"))
    assert files.digest(text) != files.digest(text.replace("'1m'", "'2m'"))


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("None", "0"),
        ("[1, (2, 3)]", "[1, [2, 3]]"),
        ("{'a': 1}", "{'a': 2}"),
        ("{1, 2}", "frozenset({1, 2})"),
        ("re.compile('a')", "re.compile('a', re.I)"),
        ("Path('a')", "Path('b')"),
        ("timedelta(1)", "timedelta(2)"),
        ("Colour.RED", "Colour.BLUE"),
        ("Point(1)", "Point(2)"),
        ("partial(int, base=8)", "partial(int, base=16)"),
        ("list[int]", "list[str]"),
        ("Callable[[int], str]", "Callable[[str], str]"),
        ("int | str", "int | bytes"),
        ("[len]", "[max]"),
        ("len", "max"),
        ("MappingProxyType({1: 2})", "MappingProxyType({1: 3})"),
    ],
)
def test_constants_are_part_of_it(files: Files, value: str, other: str) -> None:
    text = (
        "import re\n"
        "from collections.abc import Callable\n"
        "from dataclasses import dataclass\n"
        "from datetime import timedelta\n"
        "from enum import Enum\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from types import MappingProxyType\n"
        "Colour = Enum('Colour', 'RED BLUE') if False else None\n"
        "class Colour(Enum):\n    RED = 1\n    BLUE = 2\n"
        "@dataclass(frozen=True)\nclass Point:\n    x: int\n"
        "VALUE = {}\n"
        "def run(t):\n    return VALUE\n"
    )
    first, second = text.replace("{}", value), text.replace("{}", other)
    assert files.digest(first) == files.digest(first)
    assert files.digest(first) != files.digest(second)


def test_loggers_and_distributions_may_be_used(files: Files) -> None:
    text = "import logging\nimport pygit2\nlog = logging.getLogger('a')\n"
    text += "def run(t):\n    log.info(pygit2.__version__)\n"
    assert files.digest(text) == files.digest(text)
    assert files.digest(text) != files.digest(text.replace("pygit2", "typer"))


HERE = """
import os
from pathlib import Path
PLACE = Path(__file__).parent / "data"
TEXT = os.path.dirname(os.path.abspath(__file__))

def run(tree):
    return PLACE, TEXT, __file__, __name__
"""


def test_what_a_pipeline_knows_of_its_own_place_is_the_same_everywhere(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Files(tmp_path / "elsewhere")
    assert files.digest(HERE) == other.digest(HERE)
    assert files.digest(HERE) != files.digest(HERE.replace('"data"', '"other"'))


def test_a_path_that_is_written_out_is_the_same_wherever_the_pipeline_lies(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Files(tmp_path / "elsewhere")
    text = f"PLACE = '{tmp_path}/data'\ndef run(tree):\n    return PLACE\n"
    assert files.digest(text) == other.digest(text)
    assert files.digest(text) != files.digest(text.replace("data", "more"))


def test_an_empty_package_beside_the_pipeline_is_followed(files: Files) -> None:
    (files.path / "empty_tools").mkdir()
    (files.path / "empty_tools" / "__init__.py").touch()
    (files.path / "empty_tools" / "reading.py").write_text("READ = 1\n")
    text = "import empty_tools.reading\ndef run(tree):\n    return empty_tools.reading.READ\n"
    assert files.digest(text) == files.digest(text)


def test_modules_beside_the_pipeline_are_followed(files: Files) -> None:
    text = "import steps_a\ndef run(t):\n    return steps_a.do(t)\n"
    files.beside("steps_a", "from steps_b import do\n")
    files.beside("steps_b", "def do(t):\n    return 1\n")
    before = files.digest(text)
    files.beside("steps_a", "from steps_b import do\n")
    files.beside("steps_b", "def do(t):\n    return 2\n")
    assert files.digest(text) != before


def test_functions_of_a_module_beside_are_followed_one_by_one(files: Files) -> None:
    text = "from steps_c import do\ndef run(t):\n    return do(t)\n"
    files.beside("steps_c", "def do(t):\n    return 1\ndef other(t):\n    return 1\n")
    before = files.digest(text)
    files.beside("steps_c", "def do(t):\n    return 1\ndef other(t):\n    return 2\n")
    assert files.digest(text) == before
    files.beside("steps_c", "def do(t):\n    return 3\ndef other(t):\n    return 2\n")
    assert files.digest(text) != before


def test_imports_inside_functions_are_followed(files: Files) -> None:
    text = "def run(t):\n    from steps_d import do\n    return do(t)\n"
    files.beside("steps_d", "def do(t):\n    return 1\n")
    before = files.digest("import steps_d\n" + text)
    files.beside("steps_d", "def do(t):\n    return 2\n")
    assert files.digest("import steps_d\n" + text) != before


def test_what_cannot_be_digested_is_named(files: Files) -> None:
    opened = files.refused("HANDLE = open(__file__)\nHANDLE.close()\ndef run(t):\n    HANDLE\n")
    assert "it uses HANDLE, a TextIOWrapper" in opened
    assert "it uses THING, a object" in files.refused("THING = object()\ndef run(t):\n    THING\n")
    assert "<lambda> is not defined" in files.refused("F = lambda: 1\ndef run(t):\n    F()\n")
    nested = "def make():\n    def run(t): ...\n    return run\nrun = make()\n"
    assert "make.<locals>.run is not defined at the top" in files.refused(nested)


def test_code_made_on_the_fly_is_refused(files: Files) -> None:
    text = "space = {'__name__': __name__}\nexec('def run(t): ...', space)\nrun = space['run']\n"
    assert "the source of run cannot be found" in files.refused(text)
    same_name = "def run(t):\n    return 1\n" + text
    assert "the source of run cannot be found" in files.refused(same_name)
    text = "Made = type('Made', (), {})\ndef run(t):\n    return Made()\n"
    assert "the source of class Made cannot be found" in files.refused(text)


def test_the_last_of_two_definitions_counts(files: Files) -> None:
    text = "if True:\n    def run(t):\n        return 1\nelse:\n    def run(t):\n        return 2\n"
    assert files.digest(text) != files.digest(text.replace("if True", "if False"))
    assert files.digest(text) == files.digest(text.replace("return 2", "return 3"))
