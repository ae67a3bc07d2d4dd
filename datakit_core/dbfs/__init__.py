"""The database as a tree of nodes."""
