"""Git, knowing nothing of 9P: the only package that imports pygit2."""
