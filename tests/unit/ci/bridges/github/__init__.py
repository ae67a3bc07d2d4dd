"""The pure parts of the GitHub bridge."""
