"""The parts of the API that are values and functions."""
