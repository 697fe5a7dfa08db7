"""Figures that POET claims, measured: `python -m benchmarks`, or one part, `python -m benchmarks.overhead`."""
