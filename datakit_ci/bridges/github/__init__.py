"""The GitHub bridge: keeps repositories on GitHub and the branch ``github-metadata`` in step.

What GitHub says, what the database says, and what GitHub said when they last agreed are three
snapshots (:mod:`.resources`); what to push and what to write follows from them by pure functions
(:mod:`.reconcile`). The rest moves snapshots: to and from the database (:mod:`.records`), to and
from GitHub (:mod:`.rest`), and decides when to look (:mod:`.bridge`).
"""
