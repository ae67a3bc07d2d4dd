"""Tests of the protocol below its shells."""
