"""9P, knowing nothing of Git."""
