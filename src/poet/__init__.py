"""POET."""
