"""The GitHub bridge against a GitHub on loopback."""
