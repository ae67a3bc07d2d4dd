"""This repository's own CI."""
