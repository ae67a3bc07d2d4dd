"""Clients that are wrong, greedy, or malicious; after each of them the server serves others."""
