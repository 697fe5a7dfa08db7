"""Maths over whole histories: arrays in, findings out. Libraries that are slow to load are loaded where they are used."""
