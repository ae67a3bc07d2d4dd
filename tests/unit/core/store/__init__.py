"""Tests of datakit_core.store."""
