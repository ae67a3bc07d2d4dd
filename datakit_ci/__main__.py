"""``python -m datakit_ci`` is ``datakit-ci``."""

from datakit_ci.cli import main

main()
