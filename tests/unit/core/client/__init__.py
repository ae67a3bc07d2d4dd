"""Tests of the parts that the client's back ends share."""
