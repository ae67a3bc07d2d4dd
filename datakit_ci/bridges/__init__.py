"""Bridges: keep an outside service and the database in step. They do not know the engine."""
