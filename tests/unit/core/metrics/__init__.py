"""Tests of the figures and the page."""
