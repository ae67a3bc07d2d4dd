"""Print what the package in ``pyproject.toml``, or extras of it, need: for ``pip install -r``.

So an image has a layer with all that is not ours, which a change of our code does not make anew.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = sys.argv[1:]
wanted = [project["optional-dependencies"][each] for each in extras] or [project["dependencies"]]
sys.stdout.writelines(f"{each}\n" for group in wanted for each in group)
