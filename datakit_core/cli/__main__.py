"""``python -m datakit_core.cli`` is the command ``datakit``."""

from datakit_core.cli import main

main()
