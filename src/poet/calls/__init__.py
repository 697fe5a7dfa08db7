"""Perceive, operate, enforce: the hot path."""
