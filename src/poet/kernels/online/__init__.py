"""Maths that costs the same for every execution, however many came before."""
