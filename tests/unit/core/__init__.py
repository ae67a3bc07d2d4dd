"""Unit tests of datakit_core, mirroring its modules."""
