"""Maths over whole histories: arrays in, findings out. What is slow to load is loaded where it is used."""
