"""Tests of the database as nodes."""
