"""Tests of the ready-made nodes."""
