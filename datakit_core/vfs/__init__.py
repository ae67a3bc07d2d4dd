"""Node protocols and ready-made nodes: what a program defines to be served over 9P."""
