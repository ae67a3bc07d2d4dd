"""Builds on a Dask cluster: the same pipeline on many machines.

``wire`` is what travels, as plain data; ``executor`` and ``cluster`` are the engine's side,
``plugin`` and ``worker`` a worker's. Only these four import Dask, and only who uses them does so.
"""
