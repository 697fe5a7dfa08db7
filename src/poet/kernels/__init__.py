"""Maths without state or I/O."""
