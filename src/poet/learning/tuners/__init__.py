"""Learners of declared tunables, one seam: ``poet.seams.Tuner``."""
