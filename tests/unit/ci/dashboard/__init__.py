"""Tests of the dashboard's parts, without sockets."""
