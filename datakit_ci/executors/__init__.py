"""Where builds run: ``base`` is the protocol, ``local`` the executor that is built in.

Nothing is imported here: the child process of a build imports this package at every start.
"""
