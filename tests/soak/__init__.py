"""Faults at random, for hours: make soak."""
