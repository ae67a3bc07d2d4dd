"""DataKit mounted by a Linux kernel."""
