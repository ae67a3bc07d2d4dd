"""Unit tests of datakit_ci.executors."""
