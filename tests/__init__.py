"""The tests; each folder says what kind they are, and unit tests mirror the packages."""
