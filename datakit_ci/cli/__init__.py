"""The command ``datakit-ci``: a file for each group of commands.

Exit statuses: 0; 1 when the answer is no (a job failed, results differ, there is no such result);
2 for what cannot be done as it was asked. What goes wrong is one line on standard error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from datakit_ci.cli.quick import quick
from datakit_core import lazy
from datakit_core.errors import DatakitError, NoEntry

if TYPE_CHECKING:
    from datakit_ci.cli.application import app
else:
    __getattr__ = lazy.attributes(__name__, {"app": "application"})

__all__ = ["app", "main"]

_BROKEN_PIPE = 141
"""What a shell sees of a program that SIGPIPE ended: 128 and its number."""


def main() -> None:
    """Run the command; what is somebody's fault but not a bug is one line."""
    try:
        wanted = quick(sys.argv[1:])
        if wanted is None:
            from datakit_ci.cli.application import app  # slow to import

            app()
        else:
            from datakit_ci.once import run_once

            sys.exit(run_once(wanted))
    except BrokenPipeError:
        # Python flushes standard output once more at its end, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_BROKEN_PIPE)
    except DatakitError as error:
        sys.stderr.write(f"datakit-ci: {error}\n")
        sys.exit(1 if isinstance(error, NoEntry) else 2)
