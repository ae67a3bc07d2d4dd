"""Unit tests of datakit_ci, mirroring its modules."""
